/** Statement, record, receipt, leaf, frame, references: canonical, bounded, total. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import {
  decodeCheckpointLeaf,
  decodeNonceLeaf,
  encodeCheckpointLeaf,
  encodeNonceLeaf,
  encodePaddingLeaf,
} from '../src/batch.ts';
import { concat, fromUtf8, utf8 } from '../src/bytes.ts';
import { encodeCanonical } from '../src/canonical.ts';
import { AppraisalError, DecodeError, EvidenceError } from '../src/errors.ts';
import { decodeFrame, encodeFrame, frameLength, limitOf, MAX_FRAME_BYTES } from '../src/handshake.ts';
import { decodeRecord } from '../src/log/record.ts';
import { parseReceipt } from '../src/receipt.ts';
import { parseReferences } from '../src/references/references.ts';
import { type BootStatement, decodeStatement, encodeStatement } from '../src/statement.ts';

const digest = `sha256:${'0'.repeat(64)}` as const;
const STATEMENT: BootStatement = {
  version: 2,
  platform: 'tpm',
  bootId: '0'.repeat(32),
  policy: `sha384:${'1'.repeat(96)}`,
  bundle: `sha384:${'2'.repeat(96)}`,
  image: 'enclaim-0.1.0',
  device: { ak: digest, ek: digest, ekCertificate: null },
  keys: { tls: digest, receipt: `ed25519:${'A'.repeat(43)}` },
  log: { origin: 'clinic/0', size: 0, head: digest },
  unconfined: [],
  owner: null,
  started: { at: '2026-11-20T00:00:00.000Z', strength: 'host' },
};

const CURRENT: BootStatement = {
  ...STATEMENT,
  version: 3,
  keys: { ...STATEMENT.keys, log: `ed25519:${'B'.repeat(43)}` },
  log: { origin: 'clinic/0', size: 7, root: digest, minimum: 3, left: 9 },
};

const PEER = { policy: `sha384:${'00'.repeat(48)}`, boot: digest } as const;
const KEPT: BootStatement = { ...CURRENT, storage: { keeper: 'peer', epoch: 7, began: 'kept', peer: PEER } };
const ASKING: BootStatement = { ...CURRENT, storage: { keeper: 'peer', epoch: 0, began: 'asking' } };
const SEALED: BootStatement = { ...CURRENT, storage: { keeper: 'tpm', epoch: 7, began: 'kept' } };

describe('a boot statement', () => {
  test('round-trips in both versions', () => {
    for (const one of [STATEMENT, CURRENT, SEALED, KEPT, ASKING])
      assert.deepEqual(decodeStatement(encodeStatement(one)), one);
  });

  test('of one version has no field of the other, and its log holds what it says', () => {
    const { log: logKey, ...keys } = CURRENT.keys as typeof CURRENT.keys & { log: string };
    for (const other of [
      { ...CURRENT, version: 2 },
      { ...STATEMENT, version: 3 },
      { ...CURRENT, keys },
      { ...STATEMENT, keys: { ...STATEMENT.keys, log: logKey } },
      { ...CURRENT, log: STATEMENT.log },
      { ...CURRENT, log: { ...CURRENT.log, minimum: 8 } },
      { ...CURRENT, log: { ...CURRENT.log, head: digest } },
      { ...CURRENT, log: { ...CURRENT.log, origin: 'clinic 0' } },
      { ...SEALED, ...STATEMENT },
      { ...CURRENT, storage: null },
      ...[
        { keeper: 'peer', epoch: 0, began: 'asking', peer: PEER },
        { keeper: 'peer', epoch: 1, began: 'asking' },
        { keeper: 'peer', epoch: 1, began: 'kept' },
        { keeper: 'tpm', epoch: 1, began: 'kept', peer: PEER },
        { keeper: 'tpm', epoch: 0, began: 'asking' },
        {
          keeper: 'peer',
          epoch: 1,
          began: 'inherited',
          peer: PEER,
          predecessor: { policy: PEER.policy, registers: digest },
        },
      ].map((storage) => ({ ...CURRENT, storage })),
      ...[{ keeper: 'snp' }, { epoch: 0 }, { epoch: 1.5 }, { epoch: 2 ** 60 }, { began: 'again' }, { more: 1 }].map(
        (wrong) => ({ ...CURRENT, storage: { keeper: 'tpm', epoch: 7, began: 'kept', ...wrong } }),
      ),
    ]) {
      assert.throws(() => decodeStatement(encodeCanonical(other)), DecodeError, JSON.stringify(other));
    }
  });

  test('has one encoding: keys in another order, white space, extra or missing fields are refused', () => {
    const json = fromUtf8(encodeStatement(STATEMENT));
    const { version, ...rest } = JSON.parse(json);
    const others: [string, string][] = [
      ['canonical', JSON.stringify({ version, ...rest })],
      ['canonical', ` ${json}`],
      ['canonical', json.replace('"version":2', '"version":2.0')],
      ['canonical', json.replace('"version":2', '"version":1,"version":2')],
      ['syntax', json.replace('"version":2', '"version":2,"extra":0')],
      ['syntax', JSON.stringify(rest)],
      ['syntax', json.replace('"tpm"', '"TPM"')],
      ['syntax', json.replace('"version":2', '"version":1')],
      ['syntax', json.replace('"unconfined":[]', '"unconfined":["roof"]')],
      ['syntax', json.replace('"unconfined":[]', '"unconfined":["root","root"]')],
      ['syntax', json.slice(0, -1)],
      ['range', ' '.repeat(9000)],
    ];
    for (const [code, text] of others) {
      assert.throws(
        () => decodeStatement(utf8(text)),
        (error) => error instanceof DecodeError && error.code === code,
        text,
      );
    }
  });
});

test('a nonce leaf round-trips with and without exporter, and has no other length', () => {
  const field = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
  for (const exporter of [null, field(3)]) {
    const leaf = { nonce: field(1), spki: field(2), exporter };
    const data = encodeNonceLeaf(leaf);
    assert.deepEqual(decodeNonceLeaf(data), { type: 'nonce', ...leaf });
    assert.throws(() => decodeNonceLeaf(data.subarray(0, -1)), DecodeError);
    assert.throws(() => decodeNonceLeaf(concat(data, Uint8Array.of(0))), DecodeError);
    assert.throws(() => decodeNonceLeaf(concat(Uint8Array.of(2), data.subarray(1))), DecodeError);
  }
});

test('a checkpoint leaf round-trips, and no leaf is taken for one of another type', () => {
  const text = 'clinic/0\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n';
  const data = encodeCheckpointLeaf(text);
  assert.equal(decodeCheckpointLeaf(data), text);
  const nonce = encodeNonceLeaf({ nonce: new Uint8Array(32), spki: new Uint8Array(32), exporter: null });
  const padding = encodePaddingLeaf(new Uint8Array(32));
  for (const other of [
    nonce,
    padding,
    concat(Uint8Array.of(1), data.subarray(1)),
    data.subarray(0, -1),
    concat(data, Uint8Array.of(0)),
    encodeCheckpointLeaf(''),
    encodeCheckpointLeaf('a'.repeat(257)),
    concat(data.subarray(0, 5), Uint8Array.of(0xff), data.subarray(6)),
  ]) {
    assert.throws(() => decodeCheckpointLeaf(other), DecodeError);
  }
  for (const other of [data, padding, concat(Uint8Array.of(3), nonce.subarray(1))]) {
    assert.throws(() => decodeNonceLeaf(other), DecodeError);
  }
});

test('a handshake frame is bounded, canonical and never empty', () => {
  const frame = encodeFrame({ case: 'hello', value: { version: 1, nonce: new Uint8Array(32) } });
  assert.equal(frameLength(frame.subarray(0, 4)), frame.length - 4);
  assert.equal(decodeFrame(frame.subarray(4)).case, 'hello');
  assert.throws(() => decodeFrame(concat(frame.subarray(4), frame.subarray(4))), DecodeError, 'a step twice');
  assert.throws(
    () => decodeFrame(concat(frame.subarray(4), Uint8Array.of(0xf8, 0x01, 0x01))),
    DecodeError,
    'an unknown field',
  );
  assert.throws(() => decodeFrame(new Uint8Array()), DecodeError);
  assert.throws(() => frameLength(Uint8Array.of(0, 0, 0, 0)), DecodeError);
  assert.throws(() => frameLength(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), DecodeError);
  assert.equal(frameLength(Uint8Array.of(0, 0x10, 0, 0)), MAX_FRAME_BYTES);
  assert.equal(limitOf(['evidence']), MAX_FRAME_BYTES);
  assert.throws(
    () => frameLength(Uint8Array.of(0, 0x10, 0, 0), limitOf(['hello', 'done'])),
    DecodeError,
    'a large hello',
  );
});

test('parsers are total: any bytes end in a value or the error of their stage', () => {
  const parsers: [(bytes: Uint8Array) => unknown, new (...args: never[]) => Error][] = [
    [decodeStatement, DecodeError],
    [decodeRecord, DecodeError],
    [decodeNonceLeaf, DecodeError],
    [decodeCheckpointLeaf, DecodeError],
    [decodeFrame, DecodeError],
    [parseReceipt, EvidenceError],
    [parseReferences, AppraisalError],
  ];
  const json = fc.json().map(utf8);
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), json), (bytes) => {
      for (const [parse, expected] of parsers) {
        try {
          parse(bytes);
        } catch (error) {
          assert(error instanceof expected, `${parse.name}: ${error}`);
        }
      }
    }),
    { numRuns: 3000 },
  );
});
