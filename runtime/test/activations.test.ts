/** Activations: strangers ask the TPM for them before anything is known of them, so few may be under way. */

import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { FrameStream } from '@enclaim/attestation/frame-stream';
import { HANDSHAKE_VERSION } from '@enclaim/attestation/handshake';
import { type Attested, attestConnection } from '../src/channel/handshake.ts';
import { RefusalError } from '../src/errors.ts';
import { platformOn } from '../src/hardware/platforms.ts';

test('sixty-four wait, and the TPM has one at a time; the next is refused, and one that ends or fails makes room', async () => {
  const nothing = new Uint8Array();
  const waiting: PromiseWithResolvers<Uint8Array>[] = [];
  const platform = platformOn({ kind: 'tpm', akPublic: '', ekPublic: '', ekCertificate: null }, '', {
    quote: () => Promise.reject(new Error('not asked for')),
    activate: () => {
      const answer = Promise.withResolvers<Uint8Array>();
      waiting.push(answer);
      return answer.promise;
    },
  });
  const activate = (): Promise<Uint8Array> => platform.activate(nothing, nothing);
  const refused = (error: unknown): boolean => error instanceof RefusalError && error.code === 'budget';

  const under = Array.from({ length: 64 }, activate);
  await assert.rejects(activate(), refused);
  const heard = async (count: number): Promise<void> => {
    await new Promise(setImmediate);
    assert.equal(waiting.length, count, 'a quote that comes now waits for one activation at most');
  };
  await heard(1);
  waiting[0]?.resolve(nothing);
  await under[0];
  await heard(2);
  waiting[1]?.reject(new Error('TPM_RC_FAILURE'));
  await assert.rejects(under[1] ?? Promise.resolve(), /TPM_RC/);
  const more = [activate(), activate()];
  await assert.rejects(activate(), refused);
  for (let count = 3; count <= 66; count++) {
    await heard(count);
    waiting[count - 1]?.resolve(nothing);
  }
  await Promise.all([...under.filter((_, at) => at !== 1), ...more]);
});

test('one for a connection: who asks for a second is refused, and the TPM has not heard of it', async () => {
  let heard = 0;
  const attested = {
    platform: {
      kind: 'tpm',
      activate: async () => {
        heard++;
        return new Uint8Array(32);
      },
    },
    batcher: { add: async () => ({ leaf: { path: [] }, hardware: { case: undefined } }) },
    statement: new Uint8Array(),
    policy: new Uint8Array(),
    spkiDigest: new Uint8Array(32),
  } as unknown as Attested;
  const [near, far] = duplexPair();
  const socket = Object.assign(near, { exportKeyingMaterial: () => Buffer.alloc(32) }) as unknown as TLSSocket;
  const served = assert.rejects(attestConnection(socket, attested), { name: 'RefusalError', code: 'channel' });
  using frames = new FrameStream(far, (_why, message) => new Error(message));
  const value = { credentialBlob: Uint8Array.of(1), encryptedSecret: Uint8Array.of(2) };
  await frames.send({ case: 'hello', value: { version: HANDSHAKE_VERSION, nonce: new Uint8Array(32) } });
  await frames.receive('evidence');
  await frames.send({ case: 'activate', value });
  await frames.receive('activated');
  await frames.send({ case: 'activate', value });
  assert.match((await frames.receive('refused')).value.reason, /step activate, expected done/);
  await served;
  assert.equal(heard, 1);
});
