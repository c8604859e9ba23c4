/** Topic tpm-eventlogs: boot event logs of real machines, and the register values that they lead to. */
import { fromHex, toHex } from '../../../attestation/src/bytes.ts';
import { HASH_LENGTH, type HashName } from '../../../attestation/src/digest.ts';
import { DecodeError, EvidenceError } from '../../../attestation/src/errors.ts';
import {
  authenticateEventLog,
  type EventLog,
  parseEventLog,
  replayEventLog,
} from '../../../attestation/src/tpm/event-log.ts';
import type { PcrBanks, PcrValues } from '../../../attestation/src/tpm/pcr.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'tpm-eventlogs';

type Values = Readonly<Record<string, string>>;
type Banks = Partial<Readonly<Record<HashName, Values>>>;

interface Positive {
  readonly format: string;
  readonly event_count: number;
  readonly log_bytes_used: number;
  readonly algorithms: Readonly<Record<string, number>>;
  readonly pcrs_replayed: Banks;
  /** Read from the TPM of that machine. */
  readonly pcrs_asserted?: Banks;
  readonly asserted_equals_replay?: boolean;
}

type Expected =
  | (Positive & { readonly result?: undefined })
  | { readonly result: 'parse-error' }
  | { readonly result: 'mismatch'; readonly bank: HashName; readonly pcr: number; readonly pcrs_from_tpm: Values };

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const bytes = await fileOf(test, 'log', dir);
  switch (expected.result) {
    case 'parse-error':
      return compare('parse-error', parseOutcome(bytes));
    case 'mismatch': {
      const { bank, pcr, pcrs_from_tpm } = expected;
      return compare({ refusal: 'log', differing: [pcr] }, mismatch(bytes, bank, valuesOf(pcrs_from_tpm)));
    }
    case undefined:
      return replay(bytes, expected);
  }
}

/** Only what the logs lead to is judged: `go_eventlog_state` is another program's reading of unmeasured descriptions. */
function replay(bytes: Uint8Array, expected: Positive): Outcome {
  const log = parseEventLog(bytes);
  const banks = replayEventLog(log);
  const { format, event_count, log_bytes_used, algorithms, pcrs_replayed, asserted_equals_replay } = expected;
  const wanted = { format, event_count, log_bytes_used, algorithms, pcrs_replayed, asserted_equals_replay };
  return compare(wanted, {
    format: log.format,
    event_count: log.events.length,
    log_bytes_used: bytes.length,
    algorithms: Object.fromEntries(log.algorithms.map((name) => [name, HASH_LENGTH[name]])),
    pcrs_replayed: textOf(banks),
    asserted_equals_replay: expected.pcrs_asserted && isAuthenticated(log, expected.pcrs_asserted),
  });
}

function isAuthenticated(log: EventLog, banks: Banks): boolean {
  try {
    for (const [bank, values] of Object.entries(banks)) {
      authenticateEventLog(log, bank as HashName, Object.keys(values).map(Number), valuesOf(values));
    }
    return true;
  } catch (error) {
    if (error instanceof EvidenceError) return false;
    throw error;
  }
}

function mismatch(bytes: Uint8Array, bank: HashName, values: PcrValues): Record<string, unknown> {
  const log = parseEventLog(bytes);
  const replayed = replayEventLog(log).get(bank);
  const differing = [...values].filter(
    ([pcr, value]) => toHex(replayed?.get(pcr) ?? new Uint8Array()) !== toHex(value),
  );
  try {
    authenticateEventLog(log, bank, [...values.keys()], values);
    return { refusal: undefined, differing: [] };
  } catch (error) {
    return { refusal: error instanceof EvidenceError && error.code, differing: differing.map(([pcr]) => pcr) };
  }
}

function parseOutcome(bytes: Uint8Array): string {
  try {
    parseEventLog(bytes);
    return 'parsed';
  } catch (error) {
    return error instanceof DecodeError ? 'parse-error' : String(error);
  }
}

function valuesOf(values: Values): PcrValues {
  return new Map(Object.entries(values).map(([pcr, hex]) => [Number(pcr), fromHex(hex)]));
}

function textOf(banks: PcrBanks): Record<string, Values> {
  const entries = [...banks].map(([bank, values]) => [
    bank,
    Object.fromEntries([...values].map(([pcr, value]) => [String(pcr), toHex(value)])),
  ]);
  return Object.fromEntries(entries) as Record<string, Values>;
}
