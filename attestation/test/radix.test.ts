/** Hexadecimal and base64 by hand take and write exactly what the engine's own do. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { readBase64, readHex, writeBase64, writeHex } from '../src/radix.ts';

const LETTERS = [...'ABYZabyz01789+/-_= \n\u00e9'];
const text = fc.array(fc.constantFrom(...LETTERS), { maxLength: 12 }).map((letters) => letters.join(''));

/** What came of reading: bytes in hexadecimal, or a refusal. */
function outcome(read: () => Uint8Array): string {
  try {
    return read().toHex();
  } catch (error) {
    assert.ok(error instanceof SyntaxError, String(error));
    return 'refused';
  }
}

test('what is written is what the engine writes, and is read back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      assert.equal(writeHex(bytes), bytes.toHex());
      assert.equal(writeBase64(bytes), bytes.toBase64());
      assert.deepEqual(readHex(bytes.toHex()), bytes);
      assert.deepEqual(readBase64(bytes.toBase64(), 'base64'), bytes);
      assert.deepEqual(readBase64(bytes.toBase64({ alphabet: 'base64url' }), 'base64url'), bytes);
    }),
  );
});

test('of any text the same is read or refused, but for white space, which the engine skips', () => {
  let read = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        text,
        fc.uint8Array({ maxLength: 8 }).map((bytes) => bytes.toBase64()),
      ),
      (said) => {
        assert.equal(
          outcome(() => readHex(said)),
          outcome(() => Uint8Array.fromHex(said)),
        );
        if (/\s/.test(said)) return;
        for (const alphabet of ['base64', 'base64url'] as const) {
          const own = outcome(() => readBase64(said, alphabet));
          if (own !== 'refused') read++;
          assert.equal(
            own,
            outcome(() => Uint8Array.fromBase64(said, { alphabet, lastChunkHandling: 'strict' })),
          );
        }
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(read > 500, `${read} texts were read`);
});

test('bits behind the last byte are refused', () => {
  assert.equal(
    outcome(() => readBase64('QQ==', 'base64')),
    '41',
  );
  assert.equal(
    outcome(() => readBase64('QR==', 'base64')),
    'refused',
  );
});
