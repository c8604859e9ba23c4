/** Messages of gRPC come out of their bytes whole, however these were cut, and nothing else does. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MessageFrames } from '@enclaim/attestation/grpc-message';
import { MAX_MESSAGE_BYTES, RequestError } from '@enclaim/attestation/grpc-request';
import { percentEncoded } from '@enclaim/attestation/grpc-status';
import { fc } from '../../test/support/properties.ts';

/** A message behind its prefix. */
function prefixed(message: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.of(flag, 0, 0, 0, 0);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Messages that come out of chunks; each is taken as soon as it is there, or all in the end. */
function taken(chunks: readonly Uint8Array[], atOnce: boolean, mayCompress = false): (readonly [string, boolean])[] {
  const frames = new MessageFrames(mayCompress);
  const messages: (readonly [string, boolean])[] = [];
  const take = (): void => {
    for (let each = frames.take(); each !== undefined; each = frames.take())
      messages.push([Buffer.from(each.bytes).toString('hex'), each.isCompressed]);
  };
  for (const chunk of chunks) {
    frames.add(chunk);
    if (atOnce) take();
  }
  take();
  assert.equal(frames.size, 0);
  return messages;
}

const refuses = (status: number) => (error: unknown) => error instanceof RequestError && error.status === status;

describe('messages', () => {
  const some = [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(300, 7), Buffer.alloc(0), Buffer.from('end')];
  const bytes = Buffer.concat(some.map((message) => prefixed(message)));
  const expected = some.map((message) => [message.toString('hex'), false]);

  test('cut in two at every byte', () => {
    for (let at = 0; at <= bytes.length; at++)
      for (const atOnce of [true, false])
        assert.deepEqual(taken([bytes.subarray(0, at), bytes.subarray(at)], atOnce), expected, `at ${at}`);
  });

  test('byte by byte', () => {
    const chunks = Array.from(bytes, (byte) => Uint8Array.of(byte));
    for (const atOnce of [true, false]) assert.deepEqual(taken(chunks, atOnce), expected);
  });

  test('any, cut anyhow', () => {
    const message = fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.boolean());
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.array(fc.nat(400)),
        fc.boolean(),
        (messages, sizes, atOnce) => {
          const all = Buffer.concat(messages.map(([each, flag]) => prefixed(each, Number(flag))));
          const chunks: Uint8Array[] = [];
          let at = 0;
          for (const size of sizes) {
            chunks.push(all.subarray(at, at + size));
            at += size;
          }
          chunks.push(all.subarray(at));
          assert.deepEqual(
            taken(chunks, atOnce, true),
            messages.map(([each, flag]) => [Buffer.from(each).toString('hex'), flag]),
          );
        },
      ),
    );
  });

  test('the longest is taken; one that announces more is refused before it comes', () => {
    assert.equal(taken([prefixed(Buffer.alloc(MAX_MESSAGE_BYTES))], true).length, 1);
    const frames = new MessageFrames(false);
    const announced = Buffer.alloc(5);
    announced.writeUInt32BE(MAX_MESSAGE_BYTES + 1, 1);
    frames.add(announced.subarray(0, 4));
    assert.equal(frames.take(), undefined);
    frames.add(announced.subarray(4));
    assert.throws(() => frames.take(), refuses(8));
  });

  test('a flag that is none, or that the call does not name, is refused', () => {
    for (const [flag, mayCompress] of [
      [1, false],
      [2, false],
      [2, true],
      [255, true],
    ] as const) {
      const frames = new MessageFrames(mayCompress);
      frames.add(prefixed(Buffer.alloc(0), flag));
      assert.throws(() => frames.take(), refuses(13), `${flag}`);
    }
  });

  test('the reads that bytes came in are not held', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const frames = new MessageFrames(false);
    const all = prefixed(Buffer.alloc(100_000));
    const add = (at: number): WeakRef<ArrayBuffer> => {
      const read = new Uint8Array(65_536);
      read[9] = all[at] as number;
      frames.add(read.subarray(9, 10));
      return new WeakRef(read.buffer);
    };
    const reads = Array.from({ length: 200 }, (_, at) => add(at));
    await new Promise(setImmediate); // references that were made in this turn are strong until then
    collect();
    assert.equal(reads.filter((each) => each.deref() !== undefined).length, 0);
    assert.equal(frames.size, 200);
  });
});

describe('the text of a status', () => {
  test('is printable ASCII on the wire, without a space at either end, and the same again', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('', ' ', '  a ', '%', '100 %', '\t\n☺😈\r\n'),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const encoded = percentEncoded(text);
        assert.match(encoded, /^(?! )[\x20-\x7e]*(?<! )$/);
        assert.equal(decodeURIComponent(encoded), text);
      }),
    );
  });

  test('of lone surrogates is well-formed', () => {
    assert.equal(percentEncoded('\ud800'), '%EF%BF%BD');
  });

  test('of gRPC’s own interop case', () => {
    assert.equal(
      percentEncoded('\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n'),
      '%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A',
    );
  });
});
