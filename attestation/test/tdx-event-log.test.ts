/** The event log of a TD and its TDREPORT: reading, replay, and bytes that are neither. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { agileLog, type Entry, le, noAction, sha1Log } from '../../test/fakes/event-log.ts';
import { FakeQuotingEnclave } from '../../test/fakes/quoting-enclave.ts';
import { FakeTrustDomain } from '../../test/fakes/trust-domain.ts';
import { fc } from '../../test/support/properties.ts';
import { refused, undecodable } from '../../test/support/refused.ts';
import { concat, utf8 } from '../src/bytes.ts';
import { sha384 } from '../src/digest.ts';
import { DecodeError, EvidenceError } from '../src/errors.ts';
import { rtmrOf } from '../src/measure/index.ts';
import { MAX_EVENT_LOG_BYTES, parseTdReport, replayTdxLog, type TdReport, tdxEventLog } from '../src/tdx/index.ts';
import { eventLogLength } from '../src/tpm/index.ts';

const event = (rtmr: number, text: string): Entry => ({
  register: rtmr + 1,
  type: 13,
  data: utf8(text),
  banks: ['sha384'],
});
const EVENTS = [event(0, 'firmware'), event(2, 'kernel'), event(0, 'tables')];
const LOG = agileLog(...EVENTS);
const rtmr = (...texts: string[]): Uint8Array =>
  rtmrOf(texts.map((text) => ({ name: text, digest: sha384(utf8(text)) })));
const REPORT: Pick<TdReport, 'rtmrs'> = {
  rtmrs: [rtmr('firmware', 'tables'), rtmr(), rtmr('kernel'), rtmr('ours')],
};

describe('the used length of a log', () => {
  for (const [what, filler] of [
    ['nothing', new Uint8Array()],
    ['ones', new Uint8Array(4096).fill(0xff)],
    ['zeros', new Uint8Array(4096)],
    ['a few zeros', new Uint8Array(3)],
  ] as const) {
    test(`before ${what}`, () => assert.equal(eventLogLength(concat(LOG, filler)), LOG.length));
  }

  test('is not known where something else follows, or what comes first is no crypto-agile header', () => {
    assert.throws(() => eventLogLength(concat(LOG, Uint8Array.of(1))), DecodeError);
    assert.throws(() => eventLogLength(concat(LOG, le(0, 8), le(1, 4))), DecodeError);
    undecodable('magic', () => eventLogLength(sha1Log(noAction(utf8('not a Spec ID event')))));
    assert.throws(() => eventLogLength(new Uint8Array(64).fill(0xff)), DecodeError);
  });

  test('is total', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 256 }),
      fc.uint8Array({ maxLength: 256 }).map((more) => concat(LOG, more)),
      fc.nat(LOG.length - 1).map((at) => Uint8Array.from(LOG, (byte, index) => (index === at ? byte ^ 0x40 : byte))),
    );
    fc.assert(
      fc.property(bytes, (area) => {
        for (const read of [
          () => eventLogLength(area),
          () => tdxEventLog(area, [area], REPORT),
          () => replayTdxLog(area, REPORT),
        ]) {
          try {
            read();
          } catch (error) {
            assert.ok(error instanceof DecodeError || error instanceof EvidenceError, String(error));
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('the log for evidence', () => {
  const log = tdxEventLog(concat(LOG, new Uint8Array(64).fill(0xff)), [utf8('ours')], REPORT);
  const textsOf = (bytes: Uint8Array, report = REPORT): string[][] =>
    replayTdxLog(bytes, report).map((events) => events.map(({ content }) => Buffer.from(content ?? []).toString()));

  test('gives the events of each register in order, with contents that were hashed', () => {
    assert.deepEqual(textsOf(log), [['firmware', 'tables'], [], ['kernel'], ['ours']]);
  });

  test('has nothing of the area that the registers do not bear out: it may be memory that the host chose', () => {
    const secret = utf8('the key of the random number generator');
    const informative: Entry = { ...noAction(secret), banks: ['sha384'] };
    const image: Entry = { ...event(1, ''), data: secret, digest: sha384(utf8('measured')) };
    const rtmrs = [rtmr('firmware'), rtmr('measured'), rtmr(), rtmr()] as const;
    const area = agileLog(informative, event(0, 'firmware'), image, informative);
    assert.ok(Buffer.from(area).includes(secret));
    const kept = tdxEventLog(area, [], { rtmrs });
    assert.equal(Buffer.from(kept).includes(secret), false);
    assert.deepEqual(textsOf(kept, { rtmrs }), [['firmware'], [''], [], []]);
    // Nor does it pass where somebody puts it back.
    const back = Buffer.concat([kept.subarray(0, kept.length - 4), le(secret.length, 4), secret]);
    assert.throws(() => replayTdxLog(back, { rtmrs }), { code: 'log', message: /was not measured/ });
    // A digest of the host's choice leads elsewhere.
    const forged = { ...image, digest: sha384(secret) };
    assert.throws(() => tdxEventLog(agileLog(event(0, 'firmware'), forged), [], { rtmrs }), { code: 'log' });
  });

  test('is of every register, the empty ones too, and of no other', async () => {
    for (let index = 0; index < 4; index++) {
      const rtmrs = REPORT.rtmrs.with(index, rtmr('other')) as unknown as TdReport['rtmrs'];
      await refused('log', async () => replayTdxLog(log, { rtmrs }));
      assert.throws(() => tdxEventLog(LOG, [utf8('ours')], { rtmrs }), { code: 'log' });
    }
    for (const register of [0, 5]) {
      await refused('log', async () => replayTdxLog(concat(log, agileEvent({ ...event(3, ''), register })), REPORT));
    }
    await refused('format', async () =>
      replayTdxLog(concat(log, agileEvent({ ...noAction(utf8('x')), banks: [] })), REPORT),
    );
    await refused('format', async () => replayTdxLog(agileLog(...EVENTS, event(3, 'ours')), REPORT));
  });

  test('is bounded', async () => {
    const large = utf8('x'.repeat(MAX_EVENT_LOG_BYTES));
    undecodable('range', () => tdxEventLog(LOG, [large], REPORT));
    await refused('format', async () => replayTdxLog(concat(log, large), REPORT));
  });

  /** One event without the header before it. */
  function agileEvent(entry: Entry): Uint8Array {
    return agileLog(entry).subarray(agileLog().length);
  }
});

test('a TDREPORT is read where the TDX module puts it, and nothing else is one', () => {
  const td = new FakeTrustDomain(new FakeQuotingEnclave(), { mrTd: sha384(utf8('mrtd')), events: [] });
  td.extend(2, sha384(utf8('kernel')));
  const report = td.tdReport();
  const { mrTd, rtmrs } = parseTdReport(report);
  assert.equal(mrTd.toHex(), sha384(utf8('mrtd')).toHex());
  assert.deepEqual(
    rtmrs.map((value) => value.toHex()),
    td.rtmrs.map((value) => value.toHex()),
  );
  undecodable('range', () => parseTdReport(report.subarray(1)));
  undecodable('version', () => parseTdReport(new Uint8Array(1024)));
});
