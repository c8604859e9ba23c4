/** What an operator and an auditor meet in their first hour: a receipt kept and read back, by the words of the README. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from '@enclaim/client';
import { parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { Client, credentials } from '@grpc/grpc-js';
import { EXIT } from '../cli/src/exit-status.ts';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import type { Ended } from './support/ended.ts';
import { HANGS_MS } from './support/eventually.ts';
import { Program } from './support/program.ts';

const cli = join(import.meta.dirname, '../cli/src/main.ts');
const scratch = await mkdtemp(join(tmpdir(), 'enclaim-first-hour-'));
let server: AttestedRuntime;
before(async () => {
  server = await bootAttested(await clinicBundle());
  await writeFile(join(scratch, 'references.json'), JSON.stringify(server.references));
});
after(async () => {
  await server.stop();
  await rm(scratch, { recursive: true, force: true });
});

const start = (args: readonly string[]): Program => new Program([process.execPath, cli, ...args], { cwd: scratch });

/** Runs a command that ends by itself, and hears all of it. */
const enclaim = (...args: readonly string[]): Promise<Ended> => start(args).ended();

const REFERENCES = ['--references', 'references.json'] as const;

/** The words that `call` says a kept receipt is verified with. */
function laterWords(stderr: string): string[] {
  const [, words] = /^receipt: later {2}enclaim (.*)$/m.exec(stderr) ?? assert.fail(stderr);
  return (words ?? '').split(' ');
}

test('a receipt that was kept verifies with the same references and the words that call says', async () => {
  const request = JSON.stringify({ patient: { resourceType: 'Patient', id: 'p1', birthDate: '1974-12-25' } });
  const keep = ['--save-receipt', 'first.enclaim-receipt'];
  const called = await enclaim('call', server.target, 'clinic.v1.Intake/Submit', '-d', request, ...REFERENCES, ...keep);
  assert.equal(called.code, EXIT.ok, called.stderr);
  const alone = await enclaim('verify', 'first.enclaim-receipt', ...REFERENCES);
  assert.equal(alone.code, EXIT.refused);
  assert.match(
    alone.stderr,
    /attestation key sha256:\w+ is not pinned, and what is saved cannot show whose TPM .*--ak/,
  );
  const words = laterWords(called.stderr);
  const whole = await enclaim(...words);
  assert.equal(whole.code, EXIT.ok, whole.stderr);
  assert.match(whole.stderr, /^receipt: ok {2}clinic\.v1\.Intake\/Submit/m);
  const { receipt } = JSON.parse((await enclaim(...words, '--json')).stdout) as { receipt: { messages: string } };
  assert.equal(receipt.messages, 'both');
});

test('a receipt of a refusal is kept, too, with its text', async () => {
  const keep = ['--save-receipt', 'refused.enclaim-receipt'];
  const words = ['-d', '{"caseId":"nowhere"}', ...REFERENCES, ...keep];
  const called = await enclaim('call', server.target, 'clinic.v1.Intake/Read', ...words);
  assert.equal(called.code, EXIT.answered, called.stderr);
  assert.match(called.stderr, /^receipt: ok of \w+ {2}number/m);
  const verified = await enclaim(...laterWords(called.stderr), '--json');
  assert.equal(verified.code, EXIT.ok, verified.stderr);
  const { messages } = JSON.parse(await readFile(join(scratch, 'refused.enclaim-receipt'), 'utf8'));
  assert.equal(typeof messages.text, 'string');
});

test('where a refusal has no receipt, it is said that none is kept', async () => {
  const words = [...REFERENCES, '--save-receipt', 'none.enclaim-receipt'];
  const called = await enclaim('call', server.target, 'clinic.v1.Marketing/ExportContacts', ...words);
  assert.equal(called.code, EXIT.answered);
  assert.match(called.stderr, /^receipt: none came, none\.enclaim-receipt is not written$/m);
  assert.ok(!(await readdir(scratch)).includes('none.enclaim-receipt'));
});

test('the policy of before is at hand for the demand that compares with it', async () => {
  const now = await readFile(join(import.meta.dirname, '../examples/clinic/policy.yaml'), 'utf8');
  const [wide, narrow] = [now.replace('P30D', 'P31D'), now.replace('P30D', 'P29D')];
  await writeFile(join(scratch, 'wide.yaml'), wide);
  await writeFile(join(scratch, 'narrow.yaml'), narrow);
  const list = (before: string, ...more: string[]) =>
    enclaim(
      ...['call', server.target, ...REFERENCES, '--require'],
      `neverWeakerThan ${policyDigest(parsePolicy(before))}`,
      ...more,
    );
  const chain = ['--policy-chain', 'wide.yaml', '--policy-chain', 'narrow.yaml'];
  const absent = await list(wide);
  assert.equal(absent.code, EXIT.refused);
  assert.match(absent.stderr, /the policy demanded is not at hand to compare/);
  assert.equal((await list(wide, ...chain)).code, EXIT.ok);
  const weaker = await list(narrow, ...chain);
  assert.equal(weaker.code, EXIT.refused);
  assert.match(weaker.stderr, /weaker; .*P30D/);
});

test('verify --json has an answer for bad evidence', async () => {
  await writeFile(join(scratch, 'bad.evidence'), 'this is none');
  const { code, stdout } = await enclaim('verify', 'bad.evidence', ...REFERENCES, '--json');
  assert.equal(code, EXIT.refused);
  const { ok, error } = JSON.parse(stdout) as { ok: boolean; error: { name: string; message: string } };
  assert.equal(ok, false);
  assert.ok(error.name !== '' && error.message !== '', stdout);
});

test('the proxy keeps a receipt of each call, for its user alone', async () => {
  await using proxy = start(['proxy', server.target, ...REFERENCES, '--save-receipts', 'receipts']);
  try {
    const [address] = await proxy.line(/^127\.0\.0\.1:\d+$/);
    const client = new Client(address, credentials.createInsecure());
    const same = (bytes: Buffer): Buffer => bytes;
    for (let calls = 0; calls < 2; calls++)
      await new Promise<void>((resolve) => {
        const deadline = Date.now() + HANGS_MS;
        client.makeUnaryRequest('/clinic.v1.Intake/Read', same, same, Buffer.alloc(0), { deadline }, () => resolve());
      });
    client.close();
  } finally {
    await proxy.stop();
  }
  const kept = await readdir(join(scratch, 'receipts'));
  assert.equal(kept.length, 2, kept.join());
  const { ak } = server.runtime.statement.device;
  for (const file of kept) {
    assert.equal((await stat(join(scratch, 'receipts', file))).mode & 0o777, 0o600);
    const verified = await enclaim(
      'verify',
      join('receipts', file),
      ...REFERENCES,
      '--ak',
      ak ?? assert.fail(),
      '--json',
    );
    assert.equal(verified.code, EXIT.ok, verified.stderr);
    assert.equal((JSON.parse(verified.stdout) as { receipt: { messages: string } }).receipt.messages, 'both');
  }
});

test('a handshake that is given up is given up at once, however long it might have taken', async () => {
  const came = Promise.withResolvers<Socket>();
  const silent = createServer((socket) => came.resolve(socket.resume()));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  try {
    const { port } = silent.address() as { port: number };
    const options = { references: server.references, timeout: 200, handshakeTimeout: 24 * 3_600_000 };
    await assert.rejects(connect(`127.0.0.1:${port}`, options), { name: 'ChannelError', code: 'unreachable' });
    const socket = await came.promise;
    // By the handshake's own time it would be tomorrow.
    if (!socket.closed) await once(socket, 'close', { signal: AbortSignal.timeout(HANGS_MS) });
    const { code } = await enclaim('call', `127.0.0.1:${port}`, ...REFERENCES, '--timeout', '0.2');
    assert.equal(code, EXIT.unavailable);
  } finally {
    silent.close();
  }
});
