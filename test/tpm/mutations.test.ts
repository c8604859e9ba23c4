/** Quotes and event logs of real and software TPMs: accepted as they are, refused with any byte changed. */

import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromHex } from '../../attestation/src/bytes.ts';
import { HASH_LENGTH, type HashName } from '../../attestation/src/digest.ts';
import { DecodeError, EvidenceError } from '../../attestation/src/errors.ts';
import {
  authenticateEventLog,
  EV_NO_ACTION,
  type PcrBanks,
  type PcrSelection,
  parseEventLog,
  parsePublic,
  replayEventLog,
  spkiOf,
  verifyQuote,
  verifyQuoteUnderKey,
} from '../../attestation/src/tpm/index.ts';
import type { Case } from '../conformance/topic.ts';
import { needs, VECTORS } from '../support/machine-needs.ts';

const OURS = join(import.meta.dirname, '../vectors/tpm-quotes');
const OTHERS = VECTORS;

type Values = Readonly<Record<string, string>>;

interface Quote {
  readonly id: string;
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
  readonly spki: Uint8Array;
  readonly expectedExtraData: Uint8Array;
  readonly selection: PcrSelection;
  readonly banks: PcrBanks;
  /** Where the TPM's own structure of the key is there, and the quote is an Enclaim guest's. */
  readonly akPublic?: Uint8Array;
}

function banksOf(banks: Readonly<Record<string, Values>>): PcrBanks {
  return new Map(
    Object.entries(banks).map(([bank, values]) => [
      bank as HashName,
      new Map(Object.entries(values).map(([pcr, hex]) => [Number(pcr), fromHex(hex)])),
    ]),
  );
}

async function ourQuotes(): Promise<Quote[]> {
  const names = (await readdir(OURS)).filter((name) => name.endsWith('.json'));
  return Promise.all(
    names.map(async (name) => {
      const vector = JSON.parse(await readFile(join(OURS, name), 'utf8'));
      assert.equal(vector.expect, 'ok');
      const akPublic = vector.akPublic === undefined ? undefined : fromHex(vector.akPublic);
      return {
        id: name,
        attest: fromHex(vector.attest),
        signature: fromHex(vector.signature),
        spki: akPublic ? spkiOf(parsePublic(akPublic)) : fromHex(vector.spki),
        expectedExtraData: fromHex(vector.nonce),
        selection: vector.selection,
        banks: banksOf(vector.pcrs),
        ...(akPublic && { akPublic }),
      };
    }),
  );
}

/** The positive cases of a topic of vectors that others made; none where they are not here. */
async function positives(topic: string): Promise<readonly (Case & { expected: Record<string, never> })[]> {
  const manifest = await readFile(join(OTHERS, topic, 'manifest.json'), 'utf8').catch(() => '{"cases":[]}');
  return JSON.parse(manifest).cases.filter((one: Case) => one.polarity === 'positive');
}

async function otherQuotes(): Promise<Quote[]> {
  const file = (test: Case, name: string): Promise<Buffer> =>
    readFile(join(OTHERS, 'tpm-quotes', String(test.files[name])));
  return Promise.all(
    (await positives('tpm-quotes'))
      .filter(({ files }) => 'sig' in files)
      .map(async (test) => {
        const { nonce = '', attest } = test.expected as unknown as {
          readonly nonce?: string;
          readonly attest: { readonly pcr_selection: PcrSelection };
        };
        return {
          id: test.id,
          attest: new Uint8Array(await file(test, 'attest')),
          signature: new Uint8Array(await file(test, 'sig')),
          spki: createPublicKey(await file(test, 'ak')).export({ format: 'der', type: 'spki' }),
          expectedExtraData: fromHex(nonce),
          selection: attest.pcr_selection,
          banks: banksOf(JSON.parse((await file(test, 'pcrs')).toString())),
        };
      }),
  );
}

const verify = (quote: Quote): Promise<unknown> => {
  const { akPublic, banks } = quote;
  if (akPublic === undefined) return verifyQuoteUnderKey(quote);
  return verifyQuote({ ...quote, akPublic, pcrs: banks.get('sha256') ?? new Map() });
};

/** Each byte with one bit changed, every truncation, and three extensions. */
function* mutationsOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let i = 0; i < bytes.length; i++) yield bytes.with(i, (bytes[i] ?? 0) ^ (1 << (i & 7)));
  for (let length = 0; length < bytes.length; length++) yield bytes.subarray(0, length);
  for (const more of [1, 16, 4096]) yield new Uint8Array([...bytes, ...new Uint8Array(more)]);
}

test('quotes: every byte of attest, signature, key and register values', async (t) => {
  const others = await otherQuotes();
  if (others.length === 0) t.diagnostic('without quotes of others: no vectors');
  let count = 0;
  for (const quote of [...(await ourQuotes()), ...others]) {
    await verify(quote);
    const refuse = async (changed: Partial<Quote>, what: string): Promise<void> => {
      await assert.rejects(verify({ ...quote, ...changed }), EvidenceError, `${quote.id}: ${what}`);
      count++;
    };
    for (const part of ['attest', 'signature', ...(quote.akPublic ? (['akPublic'] as const) : [])] as const) {
      for (const bytes of mutationsOf(quote[part] ?? assert.fail())) await refuse({ [part]: bytes }, part);
    }
    for (const [bank, values] of quote.banks) {
      for (const [pcr, value] of values) {
        for (let i = 0; i < value.length; i++) {
          const changed = new Map([...values, [pcr, value.with(i, (value[i] ?? 0) ^ 0x10)]]);
          await refuse({ banks: new Map([...quote.banks, [bank, changed]]) }, `${bank} ${pcr}`);
        }
      }
    }
  }
  t.diagnostic(`${4 + others.length} quotes accepted, ${count} mutations refused`);
});

test('event logs: a byte of every digest of every bank, and every truncation', needs('vectors'), async (t) => {
  const cases = await positives('tpm-eventlogs');
  let [digests, truncations] = [0, 0];
  for (const one of cases) {
    const bytes = new Uint8Array(await readFile(join(OTHERS, 'tpm-eventlogs', String(one.files.log))));
    const log = parseEventLog(bytes);
    const banks = replayEventLog(log);
    const authenticate = (bytes: Uint8Array, bank: HashName): unknown => {
      const values = banks.get(bank) ?? new Map();
      return authenticateEventLog(parseEventLog(bytes), bank, [...values.keys()], values);
    };
    let last = 0;
    for (const [n, event] of log.events.entries()) {
      const { untrusted } = event;
      const extended = untrusted.type !== EV_NO_ACTION;
      for (const [bank, digest] of extended ? event.digests : []) {
        if (!banks.has(bank)) continue;
        const at = digest.byteOffset - bytes.byteOffset + (n % HASH_LENGTH[bank]);
        const changed = bytes.with(at, (bytes[at] ?? 0) ^ 1);
        assert.throws(() => authenticate(changed, bank), EvidenceError, `${one.id}: event ${n}, ${bank}`);
        digests++;
      }
      // Cut inside an event, the log does not parse; cut between two, it leads elsewhere.
      const end = untrusted.data.byteOffset - bytes.byteOffset + untrusted.data.length;
      for (let length = last + 1; length < end; length++) {
        assert.throws(() => parseEventLog(bytes.subarray(0, length)), DecodeError, `${one.id}: ${length} bytes`);
        truncations++;
      }
      const rest = log.events.slice(n + 1);
      const [bank] = banks.keys();
      if (bank !== undefined && rest.some((event) => event.untrusted.type !== EV_NO_ACTION)) {
        assert.throws(() => authenticate(bytes.subarray(0, end), bank), EvidenceError, `${one.id}: after event ${n}`);
        truncations++;
      }
      last = end;
    }
  }
  t.diagnostic(`${cases.length} logs accepted, ${digests} changed digests and ${truncations} truncations refused`);
});
