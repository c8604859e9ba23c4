/** Activations: strangers ask the TPM for them before anything is known of them, so few may be under way. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RefusalError } from '../src/errors.ts';
import { platformOn } from '../src/hardware.ts';

test('sixty-four at once; the next is refused, and one that ends or fails makes room', async () => {
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
  assert.equal(waiting.length, 64, 'the TPM has not heard of it');
  waiting[0]?.resolve(nothing);
  waiting[1]?.reject(new Error('TPM_RC_FAILURE'));
  await under[0];
  await assert.rejects(under[1] ?? Promise.resolve(), /TPM_RC/);
  const more = [activate(), activate()];
  await assert.rejects(activate(), refused);
  for (const { resolve } of waiting) resolve(nothing);
  await Promise.all([...under.filter((_, at) => at !== 1), ...more]);
});
