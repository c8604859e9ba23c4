/** A service made from an empty folder by documented commands alone is served in a VM, called, receipted and audited. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { EXIT } from '../../cli/src/exit-status.ts';
import { defaultCache } from '../../image/src/index.ts';
import { projectRoot } from '../../image/src/inputs/fetch.ts';
import { npmCommand } from '../../image/src/inputs/places.ts';
import { packAll } from '../../scripts/pack.ts';
import { buildCheckout, copyQuickCheckout } from '../reproduce/checkout.ts';
import { type Ended, ended } from '../support/ended.ts';
import { HANGS_MS } from '../support/eventually.ts';
import { needs } from '../support/machine-needs.ts';
import { clientIn, PackedApp } from '../support/packed-app.ts';

/** What its author writes: policy with tests, .proto files of two services, handlers, and a package under its own lock. */
const WRITTEN = join(projectRoot, 'test/payroll-app');

let scratch: string;
/** The machine, once it is started. */
let machine: ChildProcess | undefined;
let target: string;
/** Words by which references trust its TPM, as `run` prints them. */
let authority: readonly string[] = [];

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'enclaim-payroll-'));
  await chmod(scratch, 0o755); // an audit's build runs as another user
});
after(async () => {
  if (machine !== undefined && machine.exitCode === null) {
    machine.kill('SIGINT');
    await once(machine, 'close');
  }
  await rm(scratch, { recursive: true, force: true });
});

function start(args: readonly string[]): ChildProcess {
  const env = { ...process.env, ENCLAIM_CACHE: defaultCache() };
  return spawn(join(projectRoot, 'scripts/enclaim'), args, { cwd: scratch, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

const enclaim = (...args: readonly string[]): Promise<Ended> => ended(start(args));

/** Runs a command that has to end well. */
async function ok(...args: readonly string[]): Promise<Ended> {
  const ended = await enclaim(...args);
  assert.equal(ended.code, EXIT.ok, `enclaim ${args.join(' ')}\n${ended.stdout}${ended.stderr}`);
  return ended;
}

const call = (method: string, request: object, ...more: readonly string[]): Promise<Ended> =>
  enclaim('call', target, method, '-d', JSON.stringify(request), '--references', 'references.json', ...more);

async function answered(method: string, request: object, ...more: readonly string[]): Promise<unknown> {
  const { code, stdout, stderr } = await call(method, request, ...more);
  assert.equal(code, EXIT.ok, stderr);
  return JSON.parse(stdout);
}

test('an empty folder becomes an app with a package of its own', async () => {
  await ok('init', 'payroll');
  // Its author replaces the example's own files, and has no handlers yet.
  for (const part of ['proto/payroll', 'handlers', 'policy.yaml', 'policy.test.yaml'])
    await rm(join(scratch, 'payroll', part), { recursive: true });
  const later = ['handlers'];
  for (const part of (await readdir(WRITTEN)).filter((name) => !later.includes(name)))
    await cp(join(WRITTEN, part), join(scratch, 'payroll', part), { recursive: true });
  await ok('gen', 'payroll');
  await cp(join(WRITTEN, 'handlers'), join(scratch, 'payroll/handlers'), { recursive: true });
  const [npm, ...words] = npmCommand();
  await promisify(execFile)(npm, [...words, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: join(scratch, 'payroll'),
    env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
  });
});

test('its handlers fit the types that were made before them', async () => {
  const flags = ['--noEmit', '--strict', '--ignoreConfig', '--allowImportingTsExtensions', '--types', ''];
  const modules = ['--target', 'esnext', '--module', 'esnext', '--moduleResolution', 'bundler'];
  const tsc = join(projectRoot, 'node_modules/.bin/tsc');
  await promisify(execFile)(tsc, [...flags, ...modules, 'payroll/handlers/index.ts'], { cwd: scratch }).catch(
    ({ stdout }: { stdout: string }) => assert.fail(stdout),
  );
});

test('its policy is checked, tried and bundled', async () => {
  assert.match((await ok('check', 'payroll')).stdout, /5 rules were compared with 5 methods .*: 5 exposed/);
  assert.match((await ok('test', 'payroll')).stdout, /^3 of 3 cases /m);
  const { stdout, stderr } = await ok('bundle', 'payroll', '-o', 'app.enclaim');
  assert.match(stdout, /^bundle sha384:[0-9a-f]{96}$/m);
  assert.doesNotMatch(stderr, /not auditable/);
});

test('it boots on the base image, and references accept it', async () => {
  // Packed quickly, here and in the audit: all else is as in the image that ships.
  await copyQuickCheckout(join(scratch, 'sources'));
  await buildCheckout(join(scratch, 'sources'), join(scratch, 'image'));
  machine = start(['run', 'app.enclaim', '--image', 'image', '--state', 'state']);
  const lines: string[] = [];
  const served = Promise.withResolvers<void>();
  for (const stream of [machine.stdout, machine.stderr])
    createInterface({ input: stream ?? assert.fail() }).on('line', (line) => {
      lines.push(line);
      const words = /^for enclaim references: (.*)$/.exec(line)?.[1]?.split(' ');
      if (words !== undefined) authority = words;
      if (/^127\.0\.0\.1:\d+$/.test(line)) target = line;
      if (target !== undefined && authority.length > 0) served.resolve();
    });
  machine.once('close', () => served.reject(new Error(`the machine ended:\n${lines.join('\n')}`)));
  const hangs = setTimeout(() => served.reject(new Error(`hangs:\n${lines.join('\n')}`)), 3 * HANGS_MS);
  await served.promise.finally(() => clearTimeout(hangs));
  await ok(
    ...['references', '--manifest', 'image/manifest.json', '--bundle', 'app.enclaim'],
    ...[...authority, '-o', 'references.json'],
  );
});

test('both of its services answer, each with a receipt, and a package computes in the VM', async () => {
  const salary = { employee: 'ada', gross: '5000.10', taxRate: '0.333' };
  const { version } = (await answered('hr.v1.Payroll/SetSalary', salary)) as { version: string };
  assert.match(version, /^[0-9a-f]{32}$/);
  const keep = ['--require', 'claim no-undisclosed-recipients', '--save-receipt', 'slip.enclaim-receipt'];
  const slip = { employee: 'ada', pay: { gross: '5000.10', tax: '1665.03', net: '3335.07' } };
  const kept = await call('hr.v1.Payroll/GetSlip', { employee: 'ada' }, ...keep);
  assert.equal(kept.code, EXIT.ok, kept.stderr);
  assert.deepEqual(JSON.parse(kept.stdout), slip);
  assert.deepEqual(await answered('hr.v1.Payroll/RunMonth', { month: '2026-11' }), slip);
  const leave = { employee: 'ada', kind: 'KIND_PARENTAL', from: '2026-12-01T00:00:00Z' };
  await answered('hr.v1.Leave/Request', leave);
  assert.deepEqual(await answered('hr.v1.Leave/List', { employee: 'ada' }), { leaves: [leave] });

  const [, words] = /^receipt: later {2}enclaim (.*)$/m.exec(kept.stderr) ?? assert.fail(kept.stderr);
  const verified = await ok(...(words ?? '').split(' '));
  assert.match(verified.stderr, /^receipt: ok {2}hr\.v1\.Payroll\/GetSlip/m);
});

test('a client of the packed packages verifies it, calls it, and keeps what a browser verifies', async (t) => {
  for (const need of ['npm registry', 'browser'] as const)
    if (needs(need).skip !== false) return t.skip(String(needs(need).skip));
  const packed = await packAll(join(scratch, 'tarballs'));
  const app = await PackedApp.install(join(scratch, 'client'), packed, join(WRITTEN, 'proto'));
  const edits = [
    ["'intake.example:443'", JSON.stringify(target)],
    ["import { Intake } from './gen/clinic/v1/intake_pb.js'", "import { Payroll } from './gen/hr/v1/payroll_pb.js'"],
    ["client(Intake).submit({ patient: { id: 'p1' } })", "client(Payroll).getSlip({ employee: 'ada' })"],
  ] as const;
  const shown = await clientIn('README.md');
  const client = edits.reduce((text, [what, instead]) => {
    assert.ok(text.includes(what), `the README's client has no ${what}`);
    return text.replace(what, instead);
  }, shown);
  const kept = await app.answerOf(client, await readFile(join(scratch, 'references.json'), 'utf8'));
  assert.equal(kept.method, 'hr.v1.Payroll/GetSlip');
  assert.equal(kept.message.employee, 'ada');
  await app.verifyInBrowser(kept);

  // The same client sends nothing to a machine of another policy.
  const { policy, ...rest } = JSON.parse(await readFile(join(scratch, 'references.json'), 'utf8'));
  const other = JSON.stringify({ ...rest, policy: `${policy.slice(0, -1)}${policy.endsWith('0') ? '1' : '0'}` });
  await assert.rejects(app.answerOf(client, other), /VerdictError/);
});

test('its operator finds the error that a caller was told, and nothing of what was thrown', async () => {
  await answered('hr.v1.Payroll/SetSalary', { employee: 'bob', gross: 'a fortune', taxRate: '0' });
  const { code, stderr } = await call('hr.v1.Payroll/GetSlip', { employee: 'bob' });
  assert.equal(code, EXIT.answered);
  const [, id] = /INTERNAL: the handler threw \(error ([0-9a-f]{32})\)$/m.exec(stderr) ?? assert.fail(stderr);
  // The command of docs/start/handlers.md.
  const find = `tr -s '\\000' '\\n' < state/state.img | grep -a '"id":"${id}"'`;
  const { stdout } = await promisify(execFile)('sh', ['-c', find], { cwd: scratch });
  assert.equal(stdout.match(/"method":"hr\.v1\.Payroll\/GetSlip"/g)?.length, 1);
  assert.doesNotMatch(`${stdout}${stderr}`, /DecimalError|fortune/);
});

test('an auditor makes image and app again from source, and finds them on the machine', async () => {
  const { stdout, stderr, code } = await enclaim(
    ...['audit', './sources', '--app', './payroll', '--references', 'references.json'],
    ...['--against', 'image/manifest.json', '--against', 'app.enclaim', '--against', target, '--json'],
  );
  assert.equal(code, EXIT.ok, `${stdout}${stderr}`);
  const { claims } = JSON.parse(stdout) as { claims: readonly { ok: boolean }[] };
  assert.deepEqual(
    claims.map(({ ok: same }) => same),
    [true, true, true],
  );
});

test('told to end, the machine ends, and the same files give the same bundle again', async () => {
  assert.ok(machine);
  machine.kill('SIGINT');
  const [code] = (await once(machine, 'close')) as [number | null];
  assert.equal(code, EXIT.interrupted);
  const { stdout } = await ok('bundle', 'payroll', '-o', 'again.enclaim');
  assert.deepEqual(await readFile(join(scratch, 'again.enclaim')), await readFile(join(scratch, 'app.enclaim')));
  const { stdout: digest } = await ok('policy', 'digest', 'payroll/policy.yaml');
  assert.equal(stdout.match(/^policy (\S+)$/m)?.[1], digest.trim().split(/\s/)[0]);
});
