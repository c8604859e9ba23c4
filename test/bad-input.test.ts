/** Bad input at the command line: a typed error, a status that is not zero, and nothing half-written. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from '@enclaim/client';
import { formatManifest } from '@enclaim/image';
import { sampleOf } from '../image/test/manifest.ts';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested, PRETEND_IMAGE } from './support/attested-runtime.ts';
import { HANGS_MS } from './support/eventually.ts';

const root = join(import.meta.dirname, '..');
const clinic = join(root, 'examples/clinic');
let folder: string;
let server: AttestedRuntime;
let other: AttestedRuntime;
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'enclaim-bad-input-'));
  const bundle = await clinicBundle();
  [server, other] = await Promise.all([bootAttested(bundle), bootAttested(bundle)]);
  writeFileSync(at('app.enclaim'), bundle.bytes);
  pretendImage(at('image'));
  for (const [name, { target, references, runtime }] of [
    ['', server],
    ['other-', other],
  ] as const) {
    const channel = await connect(target, { references });
    writeFileSync(at(`${name}evidence`), channel.attestation.evidence);
    channel.close();
    const { ak } = runtime.statement.device;
    const anchors = { ...references.anchors, attestationKeys: [ak] };
    writeFileSync(at(`${name}pinned.json`), JSON.stringify({ ...references, anchors }));
    writeFileSync(at(`${name}references.json`), JSON.stringify(references));
  }
});
after(async () => {
  await Promise.all([server.stop(), other.stop()]);
  rmSync(folder, { recursive: true });
});

/** An image folder that passes for one until something would boot from it. */
function pretendImage(path: string): void {
  mkdirSync(path);
  const manifest = sampleOf(PRETEND_IMAGE);
  for (const { file } of Object.values(manifest.artefacts)) writeFileSync(join(path, file), '');
  writeFileSync(join(path, 'manifest.json'), formatManifest(manifest));
}

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command in `folder`; `env` replaces the environment. */
function enclaim(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  const main = join(root, 'cli/src/main.ts');
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [main, ...args],
      { cwd: folder, env, timeout: HANGS_MS },
      (_, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
}

/** The clinic with one text replaced in one of its files. */
function clinicWith(name: string, file: string, from: string | RegExp, to: string): string {
  const copy = at(name);
  cpSync(clinic, copy, { recursive: true });
  const text = readFileSync(join(copy, file), 'utf8');
  assert.notEqual(text.replace(from, to), text, 'the change changes something');
  writeFileSync(join(copy, file), text.replace(from, to));
  return copy;
}

/** Asserts that a command is refused as expected and leaves the folder as it was. */
async function refused(args: readonly string[], status: number, said: RegExp, env?: NodeJS.ProcessEnv): Promise<void> {
  const before = readdirSync(folder).sort();
  const ended = await enclaim(args, env);
  assert.equal(ended.status, status, `${ended.stdout}${ended.stderr}`);
  assert.match(ended.stderr, said);
  assert.doesNotMatch(ended.stderr, /\n\s+at /, 'no stack trace');
  assert.deepEqual(readdirSync(folder).sort(), before, 'nothing is left behind');
}

test('a malformed policy, with line and column', async () => {
  const app = clinicWith('malformed', 'policy.yaml', 'enclaim: 1', 'enclaim: 1\n  : [');
  await refused(['bundle', app, '-o', 'out.enclaim'], 1, /policy\.yaml:\d+:\d+/);
});

test('an unknown key in a policy, with line and column', async () => {
  const app = clinicWith('unknown-key', 'policy.yaml', 'purpose: care', 'porpoise: care');
  await refused(['bundle', app, '-o', 'out.enclaim'], 1, /policy\.yaml:\d+:\d+/);
});

test('a field without a category', async () => {
  const app = clinicWith(
    'no-category',
    'proto/clinic/v1/intake.proto',
    'string case_id = 1 [(enclaim.data) = "operational"];',
    'string case_id = 1;',
  );
  await refused(['bundle', app, '-o', 'out.enclaim'], 1, /intake\.proto:\d+:\d+: .*case_id/);
});

test('a misspelt option, with line and column', async () => {
  const app = clinicWith('misspelt', 'proto/clinic/v1/intake.proto', '(enclaim.data)', '(enclaim.dta)');
  await refused(['bundle', app, '-o', 'out.enclaim'], 1, /intake\.proto:\d+:\d+/);
});

test('references that are no references, or of another policy', async () => {
  writeFileSync(at('broken.json'), '{"enclaim":"references/1"}');
  await refused(['verify', 'evidence', '--references', 'broken.json'], 1, /AppraisalError references/);
  await refused(['verify', 'evidence', '--references', 'missing.json'], 2, /missing\.json/);
  const wrong = { ...JSON.parse(readFileSync(at('pinned.json'), 'utf8')), policy: `sha384:${'00'.repeat(48)}` };
  writeFileSync(at('wrong.json'), JSON.stringify(wrong));
  await refused(['verify', 'evidence', '--references', 'wrong.json'], 1, /FAILED\s+policy/);
  await refused(['call', server.target, 'clinic.v1.Intake/Read', '--references', 'wrong.json'], 1, /nothing was sent/);
});

test('evidence that was tampered with, cut short, or is another TPM’s', async () => {
  const evidence = readFileSync(at('evidence'));
  const flipped = Buffer.from(evidence);
  flipped[100] = (flipped[100] ?? 0) ^ 4;
  writeFileSync(at('flipped'), flipped);
  writeFileSync(at('short'), evidence.subarray(0, 1000));
  writeFileSync(at('empty'), '');
  for (const file of ['flipped', 'short', 'empty'])
    await refused(['verify', file, '--references', 'pinned.json'], 1, /EvidenceError/);
  await refused(['verify', 'evidence', '--references', 'other-pinned.json'], 1, /EvidenceError chain/);
});

test('a receipt file with the evidence of another boot', async () => {
  const receipt = {
    enclaim: 'receipt/1',
    receipt: 'AAAA',
    messages: null,
    evidence: readFileSync(at('evidence')).toString('base64'),
  };
  writeFileSync(at('made-up.enclaim-receipt'), JSON.stringify(receipt));
  await refused(['verify', 'made-up.enclaim-receipt', '--references', 'pinned.json'], 1, /EvidenceError format/);
  writeFileSync(at('no.enclaim-receipt'), '{"enclaim":"receipt/1"}');
  await refused(['verify', 'no.enclaim-receipt', '--references', 'pinned.json'], 1, /DecodeError/);
});

test('calls that cannot work', async () => {
  await refused(['call', server.target, 'no-slash', '--references', 'references.json'], 2, /package\.Service\/Method/);
  await refused(
    ['call', server.target, 'clinic.v1.Intake/Read', '-d', '{', '--references', 'references.json'],
    2,
    /not JSON/,
  );
  await refused(
    ['call', server.target, 'clinic.v1.Intake/Read', '--references', 'references.json', '--require', 'clam at-rest'],
    2,
    /clam/,
  );
  await refused(['call', '127.0.0.1:1', 'clinic.v1.Intake/Read', '--references', 'references.json'], 4, /unreachable/);
  await refused(['no-such-command'], 2, /no-such-command/);
  await refused(['call', server.target], 2, /references/);
});

test('a request with a field that the message does not have is not sent', async () => {
  const ended = await enclaim([
    'call',
    server.target,
    'clinic.v1.Intake/Read',
    '-d',
    '{"caseID_":1}',
    '--references',
    'references.json',
  ]);
  assert.equal(ended.status, 2, ended.stderr);
  assert.equal(ended.stdout, '');
});

test('an app bundle that is truncated, or not there', async () => {
  const bytes = readFileSync(at('app.enclaim'));
  writeFileSync(at('short.enclaim'), bytes.subarray(0, bytes.length - 4096));
  await refused(['run', 'short.enclaim', '--image', 'image'], 1, /MachineError (bundle-invalid|image)/);
  await refused(['run', 'gone.enclaim', '--image', 'image'], 1, /gone\.enclaim/);
});

test('an image, a port, QEMU or swtpm that cannot be had', async () => {
  await refused(['run', 'app.enclaim', '--image', 'no-image'], 1, /no-image/);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  try {
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await refused(['run', 'app.enclaim', '--image', 'image', '--port', `${port}`], 1, /MachineError port-taken/);
  } finally {
    taken.close();
  }
  await refused(['run', 'app.enclaim', '--image', 'image'], 1, /MachineError tool-missing/, {
    ...process.env,
    PATH: '/nowhere',
  });
});
