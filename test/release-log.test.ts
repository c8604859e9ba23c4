/** A client that demands the release log: connected only where image and policy were published. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, VerdictError } from '@enclaim/client';
import { parseBundle } from '../attestation/src/bundle.ts';
import { digestText, sha256, sha384 } from '../attestation/src/digest.ts';
import type { Release, ReleaseLog } from '../attestation/src/release/index.ts';
import { formatNoteKey, noteKey } from '../attestation/src/tlog/index.ts';
import { appendReleases, createReleaseLog, proveRelease, type ReleaseFolder } from '../image/src/index.ts';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested, PRETEND_IMAGE } from './support/attested-runtime.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-published-'));
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const raw = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
const key = noteKey('example.com/releases', 'ed25519', raw);

const bundle = await clinicBundle();
const manifest = Buffer.from('{"a":"manifest"}');
const image: Release = {
  enclaim: 'release/1',
  kind: 'image',
  manifest: digestText('sha256', sha256(manifest)),
  reference: PRETEND_IMAGE,
  kernelFile: PRETEND_IMAGE.id,
  tdx: { kernel: digestText('sha384', sha384(manifest)), initrd: digestText('sha384', sha384(manifest)) },
};
const policy: Release = { enclaim: 'release/1', kind: 'policy', policy: bundle.policy };

let machine: AttestedRuntime;
let log: ReleaseFolder;
before(async () => {
  machine = await bootAttested(bundle);
  const signer = { key, sign: (text: Uint8Array) => sign(null, text, privateKey), signedFile: join(scratch, 'signed') };
  await createReleaseLog(join(scratch, 'log'), signer);
  const documents = [
    { release: image, document: manifest },
    { release: policy, document: parseBundle(bundle.bytes).policy },
  ];
  log = await appendReleases(join(scratch, 'log'), documents, signer);
});
after(async () => {
  await machine.stop();
  await rm(scratch, { recursive: true });
});

function logWith(release: Release): ReleaseLog {
  return { key: formatNoteKey(key), witnesses: [], seen: null, consistency: [], proofs: [proveRelease(log, release)] };
}

test('published: the verdict says so, and the connection stands', async () => {
  const logged = { images: logWith(image), policy: logWith(policy) };
  const channel = await connect(machine.target, { references: { ...machine.references, logged } });
  const { checks } = channel.attestation.verdict;
  const found = checks.filter(({ id }) => id.startsWith('log.')).map(({ id, outcome }) => [id, outcome]);
  assert.deepEqual(found, [
    ['log.images', 'passed'],
    ['log.policy', 'passed'],
  ]);
  channel.close();
});

test('a policy of a rollout that was not published: nothing is sent, though the machine has another', async () => {
  const window = { notBefore: '2026-01-01T00:00:00.000Z', notAfter: '2026-12-31T00:00:00.000Z' };
  const rollout = [{ policy: `sha384:${'ee'.repeat(48)}`, bundles: 'any', ...window }] as const;
  const references = { ...machine.references, rollout, logged: { policy: logWith(policy) } };
  await assert.rejects(connect(machine.target, { references }), /log\.policy: not in .*: sha384:eeee/);
});

test('not demanded: shown as not run', async () => {
  const channel = await connect(machine.target, { references: machine.references });
  const { checks } = channel.attestation.verdict;
  assert.equal(checks.find(({ id }) => id === 'log.policy')?.outcome, 'not run');
  channel.close();
});

test('a policy or an image that was not published: nothing is sent', async () => {
  for (const logged of [{ policy: logWith(image) }, { images: logWith(policy) }]) {
    await assert.rejects(
      connect(machine.target, { references: { ...machine.references, logged } }),
      (error) =>
        error instanceof VerdictError &&
        error.verdict.checks.some(({ id, outcome }) => id.startsWith('log.') && outcome === 'failed'),
    );
  }
});
