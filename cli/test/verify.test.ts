/** `enclaim verify` of a receipt file: which of its messages were compared is said. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { utf8 } from '@enclaim/attestation/bytes';
import { parseVerdictDocument } from '@enclaim/attestation/verdict-document';
import { projectRoot } from '@enclaim/image';
import { type Messages, type ReceiptBoot, receiptBoot } from '../../client/test/refused-receipt.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-cli-verify-'));
after(() => rm(scratch, { recursive: true, force: true }));

let boot: ReceiptBoot;
before(async () => {
  boot = await receiptBoot();
  await writeFile(join(scratch, 'references.json'), JSON.stringify(boot.references));
});

async function verify(
  status: number,
  said: Messages,
  held: Messages,
  taken?: number | null,
): Promise<{ stderr: string; messages: string | undefined }> {
  await writeFile(join(scratch, 'it.enclaim-receipt'), await boot.fileOf(status, said, held, taken));
  const words = [
    join(projectRoot, 'cli/src/main.ts'),
    'verify',
    'it.enclaim-receipt',
    '--references',
    'references.json',
  ];
  const run = (...more: string[]) =>
    spawnSync(process.execPath, [...words, ...more], { cwd: scratch, encoding: 'utf8' });
  const { stderr } = run();
  assert.match(stderr, /receipt: ok/);
  const { receipt } = parseVerdictDocument(utf8(run('--json').stdout));
  return { stderr, messages: receipt?.messages };
}

test('of a refused call whose request the receipt leaves out, the response only', async () => {
  const held = { request: [Buffer.from('never sent')], response: [] };
  const { stderr, messages } = await verify(7, { request: [], response: [] }, held, null);
  assert.match(stderr, /^receipt: response only: /m);
  assert.equal(messages, 'response');
});

test('of a call that ended before it had taken all of its request, that part of it', async () => {
  const [hello, other] = [Buffer.from('hello'), Buffer.from('other')];
  const { stderr, messages } = await verify(
    0,
    { request: [hello], response: [] },
    { request: [hello, other], response: [] },
  );
  assert.match(stderr, /^receipt: the call ended before all of its request was taken/m);
  assert.equal(messages, 'prefix');
});

test('of another call both, without a word', async () => {
  const call = { request: [Buffer.from('hello')], response: [] };
  const { stderr, messages } = await verify(7, call, call);
  assert.doesNotMatch(stderr, /^receipt: (response|its)/m);
  assert.equal(messages, 'both');
});
