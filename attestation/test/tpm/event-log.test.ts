/** Event logs: what is refused, what is replayed, and that descriptions never gain trust. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  agileLog,
  BANKS,
  EV_IPL,
  ipl,
  le,
  locality,
  noAction,
  sha1Log,
  specId,
} from '../../../test/fakes/event-log.ts';
import { fc } from '../../../test/support/properties.ts';
import { concat, toHex, utf8 } from '../../src/bytes.ts';
import { HASH_LENGTH, type HashName, hash } from '../../src/digest.ts';
import { DecodeError, EvidenceError } from '../../src/errors.ts';
import {
  authenticateEventLog,
  EV_NO_ACTION,
  extendPcr,
  parseEventLog,
  replayEventLog,
  zeroPcr,
} from '../../src/tpm/index.ts';

const fold = (bank: HashName, start: Uint8Array, ...texts: readonly string[]): Uint8Array =>
  texts.reduce((value, text) => extendPcr(bank, value, hash(bank, utf8(text))), start);

test('replays every bank, in order, and never an EV_NO_ACTION', () => {
  const log = parseEventLog(agileLog(ipl(4, 'a'), noAction(utf8('a'), 4), ipl(9, 'b'), ipl(4, 'c')));
  assert.equal(log.format, 'crypto-agile');
  assert.equal(log.events.length, 5);
  const banks = replayEventLog(log);
  for (const bank of BANKS) {
    assert.deepEqual([...(banks.get(bank)?.keys() ?? [])], [4, 9]);
    assert.deepEqual(banks.get(bank)?.get(4), fold(bank, zeroPcr(bank), 'a', 'c'));
  }
  assert.deepEqual([...replayEventLog(parseEventLog(sha1Log(ipl(1, 'x')))).keys()], ['sha1']);
});

test('StartupLocality sets the last byte of register 0, once', () => {
  const start = zeroPcr('sha256').with(31, 3);
  const log = parseEventLog(agileLog(locality(3), ipl(0, 'firmware'), ipl(1, 'settings')));
  assert.deepEqual(replayEventLog(log).get('sha256')?.get(0), fold('sha256', start, 'firmware'));
  assert.deepEqual(replayEventLog(log).get('sha256')?.get(1), fold('sha256', zeroPcr('sha256'), 'settings'));
  const hcrtm = { register: 0, type: 0x8000_0010, data: utf8('HCRTM') };
  const before = zeroPcr('sha256').with(31, 4);
  for (const entries of [[hcrtm], [locality(4), hcrtm]]) {
    const value = replayEventLog(parseEventLog(agileLog(...entries)))
      .get('sha256')
      ?.get(0);
    assert.deepEqual(value, fold('sha256', before, 'HCRTM'), 'hardware measured before the TPM was started');
  }
  const short = noAction(utf8('StartupLocality\0'));
  for (const entries of [
    [locality(3), locality(3)],
    [locality(0), locality(4)],
    [locality(1)],
    [locality(255)],
    [short],
  ]) {
    assert.throws(() => replayEventLog(parseEventLog(agileLog(...entries))), { name: 'EvidenceError', code: 'log' });
  }
});

test('a bank with a gap has no values, since they cannot be known', () => {
  const log = parseEventLog(agileLog(ipl(4, 'a'), { ...ipl(4, 'b'), banks: ['sha256'] }));
  assert.deepEqual([...replayEventLog(log).keys()], ['sha256']);
  assert.throws(() => authenticateEventLog(log, 'sha1', [4], new Map()), { name: 'EvidenceError', code: 'log' });
});

const refusedLog = (error: unknown): boolean => error instanceof EvidenceError && error.code === 'log';

test('authentication: registers as given, no others; content only where it is what was measured', () => {
  const bytes = agileLog(ipl(4, 'loader'), ipl(9, 'initrd'), ipl(17, 'elsewhere'));
  const log = parseEventLog(bytes);
  const values = new Map([...(replayEventLog(log).get('sha256') ?? [])]);
  const [event, ...others] = authenticateEventLog(log, 'sha256', [4], values);
  assert.equal(others.length, 0);
  assert.deepEqual(event?.content, utf8('loader'));
  assert.throws(
    () => authenticateEventLog(log, 'sha256', [4, 9], new Map([...values, [9, zeroPcr('sha256')]])),
    refusedLog,
  );
  assert.throws(() => authenticateEventLog(log, 'sha256', [4, 5], values), refusedLog, 'no value for register 5');
  const zero = new Map([...values, [5, zeroPcr('sha256')]]);
  assert.equal(authenticateEventLog(log, 'sha256', [4, 5], zero).length, 1, 'register 5 has its initial value');
});

test('forged descriptions: type and data are not measured, and gain no trust', () => {
  const entries = [ipl(4, 'loader'), ipl(4, 'command line')];
  const bytes = agileLog(...entries);
  const values = replayEventLog(parseEventLog(bytes)).get('sha256') ?? new Map();
  // Another type over the same digest still replays: whoever believed the type would be deceived.
  const at =
    bytes.length - ('command line'.length + 4 + HASH_LENGTH.sha1 + HASH_LENGTH.sha256 + HASH_LENGTH.sha384 + 6 + 4 + 4);
  const retyped = bytes.with(at, 0x80);
  const [, event] = authenticateEventLog(parseEventLog(retyped), 'sha256', [4], values);
  assert.equal(event?.untrusted.type, 0x80);
  assert.deepEqual(event?.content, utf8('command line'));
  // Other data under the measured digest is shown as untrusted only.
  const redescribed = bytes.with(bytes.length - 1, 0x21);
  const [, other] = authenticateEventLog(parseEventLog(redescribed), 'sha256', [4], values);
  assert.equal(other?.content, undefined);
  assert.deepEqual(other?.untrusted.data.at(-1), 0x21);
  // An extended event cannot be hidden as EV_NO_ACTION, nor one be made of it.
  assert.throws(
    () => authenticateEventLog(parseEventLog(bytes.with(at, EV_NO_ACTION)), 'sha256', [4], values),
    refusedLog,
  );
  const more = parseEventLog(agileLog(...entries, ipl(4, 'more')));
  assert.throws(() => authenticateEventLog(more, 'sha256', [4], values), refusedLog);
  const swapped = parseEventLog(agileLog(...entries.toReversed()));
  assert.throws(() => authenticateEventLog(swapped, 'sha256', [4], values), refusedLog);
});

test('every byte of every digest counts', () => {
  const bytes = sha1Log(ipl(4, 'loader'), ipl(4, 'kernel'));
  const values = replayEventLog(parseEventLog(bytes)).get('sha1') ?? new Map();
  for (const start of [8, bytes.length - 6 - 4 - 20]) {
    for (let i = start; i < start + 20; i++) {
      const changed = parseEventLog(bytes.with(i, (bytes[i] ?? 0) ^ 1));
      assert.throws(() => authenticateEventLog(changed, 'sha1', [4], values), refusedLog, `byte ${i}`);
    }
  }
});

test('malformed logs are refused', () => {
  const good = agileLog(ipl(4, 'a'));
  const header = (banks: readonly (readonly [number, number])[], version?: number[]): Uint8Array =>
    sha1Log(noAction(specId(banks, version)));
  for (const [what, bytes, code] of [
    ['nothing', new Uint8Array(), 'truncated'],
    ['cut', good.subarray(0, -1), 'truncated'],
    ['a byte too many', concat(good, Uint8Array.of(0)), 'truncated'],
    ['data beyond the end', concat(good.subarray(0, -5), le(0xffff_ffff, 4)), 'truncated'],
    ['register 24', agileLog(ipl(24, 'a')), 'range'],
    ['an algorithm that the header lacks', agileLog({ ...ipl(4, 'a'), banks: ['sha512'] }), 'range'],
    ['a digest twice', agileLog({ ...ipl(4, 'a'), banks: ['sha1', 'sha1'] }), 'range'],
    ['more digests than algorithms', agileLog({ ...ipl(4, 'a'), banks: ['sha1', 'sha1', 'sha1', 'sha1'] }), 'range'],
    ['no algorithms', header([]), 'range'],
    [
      'an algorithm twice',
      header([
        [4, 20],
        [4, 20],
      ]),
      'range',
    ],
    ['SHA-256 of 20 bytes', header([[0x0b, 20]]), 'range'],
    ['an unknown algorithm of 65 bytes', header([[0x99, 65]]), 'range'],
    ['version 3', header([[4, 20]], [0, 3]), 'version'],
    ['version 2.1', header([[4, 20]], [1, 2]), 'version'],
    ['a header with trailing bytes', sha1Log(noAction(concat(specId([[4, 20]]), Uint8Array.of(0)))), 'trailing'],
    ['a header that ends early', sha1Log(noAction(specId([[4, 20]]).subarray(0, -3))), 'truncated'],
  ] as const) {
    assert.throws(
      () => parseEventLog(bytes),
      (error) => error instanceof DecodeError && error.code === code,
      what,
    );
  }
  const flood = sha1Log(...Array.from({ length: (1 << 14) + 1 }, () => ipl(0, '')));
  assert.throws(() => parseEventLog(flood), { code: 'range' });
  assert.throws(() => parseEventLog(new Uint8Array((4 << 20) + 1)), { code: 'range' });
});

test('an unknown algorithm is stepped over, and replays to nothing', () => {
  const header = sha1Log(
    noAction(
      specId([
        [0x12, 32],
        [0x0b, 32],
      ]),
    ),
  );
  const data = utf8('a');
  const event = concat(
    le(4, 4),
    le(EV_IPL, 4),
    le(2, 4),
    le(0x12, 2),
    new Uint8Array(32),
    le(0x0b, 2),
    hash('sha256', data),
  );
  const log = parseEventLog(concat(header, event, le(1, 4), data));
  assert.deepEqual(log.algorithms, ['sha256']);
  assert.deepEqual(replayEventLog(log).get('sha256')?.get(4), fold('sha256', zeroPcr('sha256'), 'a'));
});

test('any bytes are a log that replays or is refused by name', () => {
  const example = agileLog(locality(3), ipl(0, 'firmware'), ipl(4, 'loader'));
  const mutated = fc
    .tuple(fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 5 }), fc.nat({ max: example.length }))
    .map(([changes, cut]) => {
      const bytes = example.slice(0, example.length - (cut % 7 === 0 ? cut : 0));
      for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof({ weight: 4, arbitrary: mutated }, fc.uint8Array({ maxLength: 300 })), (bytes) => {
      try {
        for (const values of replayEventLog(parseEventLog(bytes)).values()) {
          for (const value of values.values()) assert.ok(toHex(value).length >= 40);
        }
      } catch (error) {
        assert.ok(error instanceof DecodeError || refusedLog(error), String(error));
      }
    }),
    { numRuns: 20_000, examples: [[example]] },
  );
});
