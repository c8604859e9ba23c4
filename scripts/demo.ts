/**
 * The demonstration: every step is the command that an operator, client or auditor would run, and
 * is checked.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { EXIT } from '../cli/src/exit-status.ts';
import { type DemoInputs, decideInputs, type LockTexts } from './demo-inputs.ts';

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'enclaim-demo-'));
const at = (name: string): string => join(folder, name);
const references = ['--references', at('references.json')];
const began = performance.now();
const running = new Set<ChildProcess>();

/** The outcome of a command. */
interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A VM that serves. */
interface Vm {
  readonly target: string;
  /** Arguments for `enclaim references` that name the VM's software TPM. */
  readonly anchors: readonly string[];
  stop(): Promise<void>;
}

function phase(text: string): void {
  console.log(`\n[${((performance.now() - began) / 1000).toFixed(0).padStart(3)} s] ${text}`);
}

/** A demonstration that does not show what it says must not look as if it did. */
function must(condition: boolean, text: string): void {
  if (!condition) throw new Error(`not as it should be: ${text}`);
  console.log(`  ✓ ${text}`);
}

function start(args: readonly string[]): ChildProcess {
  console.log(
    `  $ enclaim ${args.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`)).join(' ')}`.replaceAll(
      `${folder}/`,
      '',
    ),
  );
  const child = spawn(join(root, 'scripts/enclaim'), args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

/** Runs a command to its end; its output is shown, indented. */
async function enclaim(...args: readonly string[]): Promise<Ended> {
  const child = start(args);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk: Buffer) => {
      output[name] += chunk;
      process.stdout.write(`    ${String(chunk).replace(/\n(?=.)/g, '\n    ')}`.replaceAll(`${folder}/`, ''));
    });
  }
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...output };
}

/** Runs a command that has to succeed. */
async function ok(...args: readonly string[]): Promise<Ended> {
  const ended = await enclaim(...args);
  if (ended.status !== 0) throw new Error(`enclaim ${args[0]} ended with ${ended.status}`);
  return ended;
}

/** Boots a VM and waits until it serves. */
async function boot(...args: readonly string[]): Promise<Vm> {
  const child = start(['run', ...args]);
  const lines: string[] = [];
  const served = Promise.withResolvers<Vm>();
  const stop = async (): Promise<void> => {
    if (!running.has(child)) return;
    child.kill('SIGINT');
    await once(child, 'close');
  };
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      console.log(`    ${line}`.replaceAll(`${folder}/`, ''));
      const target = lines.find((each) => /^127\.0\.0\.1:\d+$/.test(each));
      const anchors = lines
        .find((each) => each.startsWith('for enclaim references:'))
        ?.split(' ')
        .slice(3);
      if (target !== undefined && anchors !== undefined) served.resolve({ target, anchors, stop });
    });
  }
  child.once('close', (status) => served.reject(new Error(`enclaim run ended with ${status}`)));
  return served.promise;
}

/** Stops everything that still runs; its own clean-up takes the processes below it along. */
async function stopAll(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const closed = once(child, 'close');
      child.kill('SIGINT');
      await closed;
    }),
  );
}

/**
 * Looks for every input. If one is nowhere, the newest version in its suite's signed index takes
 * its place.
 */
async function findInputs(): Promise<DemoInputs> {
  phase('Look for the locked inputs');
  await ok('image', 'inputs', '--substitute', at('locks'));
  const textsIn = (place: string): LockTexts => ({
    image: readFileSync(join(place, 'lock.json'), 'utf8'),
    machine: readFileSync(join(place, 'machine.lock.json'), 'utf8'),
  });
  const own = existsSync(at('locks')) ? textsIn(at('locks')) : null;
  return decideInputs(at('locks'), textsIn(join(root, 'image')), own);
}

async function demonstrate(inputs: DemoInputs): Promise<void> {
  phase('Build the base image from locked inputs');
  await ok('image', 'build', ...inputs.words, '-o', at('image'));

  phase('Make the app bundle: policy, descriptors, handlers');
  const built = await ok('bundle', 'examples/clinic', '-o', at('app.enclaim'));
  must(
    /withheld\s+clinic\.v1\.Marketing\/ExportContacts/.test(built.stderr + built.stdout),
    'Marketing/ExportContacts does not fit the policy',
  );

  phase('Boot it: the policy digest is measured at launch');
  const vm = await boot(at('app.enclaim'), '--image', at('image'), '--state', at('state'), ...inputs.words);

  phase('Call it: evidence first, then the request');
  const accepted = ['--manifest', at('image/manifest.json'), '--bundle', at('app.enclaim')];
  await ok('references', ...accepted, ...vm.anchors, '-o', at('references.json'));
  const [first] = JSON.parse(readFileSync(join(root, 'examples/clinic/data/cases.json'), 'utf8')) as unknown[];
  writeFileSync(at('request.json'), JSON.stringify(first));
  const demands = [
    '--require',
    'claim no-undisclosed-recipients',
    '--require',
    'recipients(personal.health) subset []',
  ];
  const saved = ['--save-evidence', at('evidence'), '--save-receipt', at('first.enclaim-receipt')];
  const submitted = await ok(
    'call',
    vm.target,
    'clinic.v1.Intake/Submit',
    '-d',
    `@${at('request.json')}`,
    ...references,
    ...demands,
    ...saved,
  );
  const { caseId } = JSON.parse(submitted.stdout) as { caseId: string };
  const read = await ok('call', vm.target, 'clinic.v1.Intake/Read', '-d', JSON.stringify({ caseId }), ...references);
  must(caseIn(read) === caseId, 'the case came back, with a receipt');

  phase('Verify the receipt offline: it leads back to the quote');
  const ak = /quote\.key\s+(sha256:[0-9a-f]{64})/.exec(submitted.stderr)?.[1] ?? '';
  await ok('references', ...accepted, '--ak', ak, '-o', at('pinned.json'));
  const offline = await ok('verify', at('first.enclaim-receipt'), ...references, '--ak', ak);
  must(/receipt: ok/.test(offline.stderr), 'the receipt verifies against the pinned attestation key');

  await refuseOnLine(vm.target);
  await vm.stop();
  await restart(inputs, caseId);
  await refuseAtLaunch(inputs, built.stderr + built.stdout);
  await audit(inputs);
}

/** The id of the case in an answer. */
function caseIn({ stdout }: Ended): string {
  return (JSON.parse(stdout) as { caseId: string }).caseId;
}

/** The next boot of the same policy on the same machine opens what was sealed, and it alone. */
async function restart(inputs: DemoInputs, caseId: string): Promise<void> {
  phase('Boot it again: what was stored is sealed to this image, this policy and this TPM');
  const vm = await boot(at('app.enclaim'), '--image', at('image'), '--state', at('state'), ...inputs.words);
  const read = await ok('call', vm.target, 'clinic.v1.Intake/Read', '-d', JSON.stringify({ caseId }), ...references);
  must(caseIn(read) === caseId, 'the case of the boot before came back');
  await vm.stop();
}

/** A client is refused a method that the policy withholds, and refuses changed evidence. */
async function refuseOnLine(target: string): Promise<void> {
  phase('Refusal 1: a method that the policy does not permit');
  const withheld = await enclaim('call', target, 'clinic.v1.Marketing/ExportContacts', ...references);
  must(
    withheld.status === EXIT.answered && /UNIMPLEMENTED/.test(withheld.stderr),
    'the withheld method is UNIMPLEMENTED',
  );

  phase('Refusal 2: saved evidence with one byte flipped');
  const evidence = readFileSync(at('evidence'));
  evidence[evidence.length >> 1] = (evidence[evidence.length >> 1] ?? 0) ^ 1;
  writeFileSync(at('flipped'), evidence);
  const flipped = await enclaim('verify', at('flipped'), '--references', at('pinned.json'));
  must(flipped.status === 1 && /EvidenceError/.test(flipped.stderr), 'flipped evidence is refused');
}

/** Another policy and another bundle are refused, by the client and by the guest. */
async function refuseAtLaunch(inputs: DemoInputs, said: string): Promise<void> {
  phase('Refusal 3: a VM whose policy differs by one character');
  const policy = readFileSync(join(root, 'examples/clinic/policy.yaml'), 'utf8');
  writeFileSync(at('other.yaml'), policy.replace('before a visit.', 'before a visit!'));
  await ok('bundle', 'examples/clinic', '--policy', at('other.yaml'), '-o', at('other.enclaim'));
  // On a disk and a TPM of its own: what the first policy sealed would not open for this one.
  const other = await boot(at('other.enclaim'), '--image', at('image'), '--state', at('other'), ...inputs.words);
  const accepted = ['--manifest', at('image/manifest.json'), '--bundle', at('app.enclaim')];
  await ok('references', ...accepted, ...other.anchors, '-o', at('other.json'));
  const call = [
    'call',
    other.target,
    'clinic.v1.Intake/Read',
    '-d',
    '{"caseId":"1"}',
    '--references',
    at('other.json'),
  ];
  const refused = await enclaim(...call);
  must(
    refused.status === 1 && /policy/.test(refused.stderr) && /nothing was sent/.test(refused.stderr),
    'the client refuses the policy before a byte is sent',
  );
  await other.stop();

  phase('Refusal 4: another bundle under the launch-measured policy');
  const digest = /sha384:[0-9a-f]{96}/.exec(said)?.[0] ?? '';
  const swapped = await enclaim(
    'run',
    at('other.enclaim'),
    '--image',
    at('image'),
    '--policy',
    digest,
    ...inputs.words,
  );
  must(swapped.status === 1 && /guest-refused/.test(swapped.stderr), 'the guest refuses and powers off');
}

/** Runs the auditor's command. If a locked input is nowhere, the audit has to say so and to end. */
async function audit(inputs: DemoInputs): Promise<void> {
  phase('Audit: rebuild from source, compare with image, app bundle and the evidence of the machine');
  const audited = await enclaim(
    'audit',
    '.',
    '--against',
    at('image/manifest.json'),
    '--against',
    at('app.enclaim'),
    '--app',
    'examples/clinic',
    '--evidence',
    at('evidence'),
    '--references',
    at('pinned.json'),
  );
  if (inputs.published) must(audited.status === EXIT.ok, 'image, bundle and machine are what the sources give');
  else
    must(
      audited.status === EXIT.unavailable,
      'the audit takes no stand-in: it cannot be tried, and says what is nowhere',
    );
}

let status = 1;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void stopAll().then(() => process.exit(130)));
try {
  const inputs = await findInputs();
  if (inputs.notice !== null) phase(inputs.notice);
  await demonstrate(inputs);
  const audits = inputs.published ? 'one audit' : 'one audit that could not be tried';
  phase(`Done: one verified answer, four refusals, ${audits}`);
  if (inputs.notice !== null) phase(inputs.notice);
  status = 0;
} catch (error) {
  console.error(`\ndemo: ${(error as Error).message}`);
} finally {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = status;
