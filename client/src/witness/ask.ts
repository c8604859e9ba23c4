/** A witness asked to cosign a checkpoint (C2SP tlog-witness), as a log's courier asks it. */

import { DecodeError, EvidenceError } from '@enclaim/attestation';
import {
  formatAddCheckpoint,
  linesOfKeys,
  type NoteKey,
  parseCheckpoint,
  parseNote,
  parseWitnessedSize,
  type VerifiedSignature,
  verifyNote,
  WITNESSED_SIZE_TYPE,
} from '@enclaim/attestation/tlog';
import { WitnessError } from './errors.ts';

/** A checkpoint, and proofs that it continues earlier ones. */
export interface CourierCheckpoint {
  /** The note that the log signed. */
  readonly note: string;
  /** Consistency proof from an earlier size, from 1 to the checkpoint's own. */
  readonly consistency: (old: number) => Promise<readonly Uint8Array[]>;
}

/** A witness as a courier knows it. */
export interface AskedWitness {
  /** Submission prefix: `https://witness.example/prefix`. */
  readonly url: string;
  /** Its keys, each of which may sign. */
  readonly keys: readonly NoteKey[];
}

/** Options of one question. */
export interface AskOptions {
  /** Size that the witness is believed to have cosigned; by default 0, and it is asked. */
  readonly remembered?: number;
  /** Milliseconds for each answer. */
  readonly timeout?: number;
  /** Milliseconds since 1970, for the times of cosignatures. */
  readonly now?: () => number;
}

/** Cosignatures of one witness. */
export interface Cosigned {
  /** Signature lines of its keys, each of which verified. */
  readonly lines: readonly string[];
  readonly signatures: readonly VerifiedSignature[];
}

/** Longest answer of a witness that is read, in bytes. */
export const MAX_WITNESS_ANSWER_BYTES: number = 64 * 1024;
/** Milliseconds by which a fresh cosignature's time and the courier's may differ. */
export const MAX_WITNESS_CLOCK_MS = 300_000;
/** Times that a witness may correct the size that it was asked from. */
const MAX_TURNS = 3;
const ANSWER_MS = 10_000;

/**
 * Asks a witness for its cosignatures of a checkpoint.
 *
 * **Trust**: nothing of an answer is taken but sizes, as a question to the log, and signatures that
 * verify under the witness's keys and are of now. The checkpoint's own signature is not judged.
 * @throws WitnessError
 */
export async function askWitness(
  witness: AskedWitness,
  checkpoint: CourierCheckpoint,
  { remembered = 0, timeout = ANSWER_MS, now = Date.now }: AskOptions = {},
): Promise<Cosigned> {
  const { size } = parseCheckpoint(parseNote(checkpoint.note).text);
  let old = Math.min(remembered, size);
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    const proof = old === 0 ? [] : await checkpoint.consistency(old);
    const answer = await post(witness.url, formatAddCheckpoint({ old, proof, note: checkpoint.note }), timeout);
    if (answer.status === 200) return verifyAnswer(witness, checkpoint.note, answer.body, now());
    const corrected = sizeOf(witness, answer);
    if (corrected > size) {
      throw new WitnessError('ahead', `${witness.url} has cosigned ${corrected} entries, the checkpoint has ${size}`);
    }
    if (corrected === old) throw protocol(witness, `refuses the size ${old} that it has itself`);
    old = corrected;
  }
  throw protocol(witness, 'names another size each time');
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** The size of an answer 409. @throws WitnessError for every other answer */
function sizeOf(witness: AskedWitness, { status, type, body }: Answer): number {
  if (status === 409 && type === WITNESSED_SIZE_TYPE) {
    try {
      return parseWitnessedSize(body);
    } catch (cause) {
      throw protocol(witness, `names no size: ${(cause as Error).message}`, cause);
    }
  }
  // By the specification 422 is for another tree; some witnesses have a bare 409.
  if (status === 422 || status === 409) {
    throw new WitnessError('fork', `${witness.url} has cosigned a tree that this checkpoint does not continue`);
  }
  if (status === 404 || status === 403 || status === 400) {
    throw new WitnessError('unknown', `${witness.url} does not witness this log under this key (${status})`);
  }
  throw protocol(witness, `answers ${status}`);
}

/** The witness's own lines, if each is good and of now. */
async function verifyAnswer(witness: AskedWitness, note: string, body: string, now: number): Promise<Cosigned> {
  const { text } = parseNote(note);
  try {
    const cosigned = `${text}\n${body}`;
    const { text: signed, verified } = await verifyNote(cosigned, witness.keys);
    // An empty line in the answer makes another text, which a witness may well have signed.
    // layer: nothing but signature lines
    if (signed !== text) throw protocol(witness, 'answers more than signature lines');
    // layer: cosignatures of now
    for (const { timestamp } of verified) refuseOtherTime(witness, timestamp, now);
    return {
      lines: linesOfKeys(
        cosigned,
        verified.map(({ key }) => key),
      ),
      signatures: verified,
    };
  } catch (cause) {
    if (!(cause instanceof DecodeError || cause instanceof EvidenceError)) throw cause;
    throw protocol(witness, `gives no cosignature of its own: ${cause.message}`, cause);
  }
}

/**
 * Refuses a time that is not now. Without this, a witness could cosign today's checkpoint for last
 * year, or for a time that is not over yet.
 */
function refuseOtherTime({ url }: AskedWitness, timestamp: bigint | undefined, now: number): void {
  const apart = Number(timestamp ?? 0n) * 1000 - now;
  if (!(Math.abs(apart) <= MAX_WITNESS_CLOCK_MS)) {
    throw new WitnessError('time', `${url} signed for second ${timestamp ?? 'none'}, not for now`);
  }
}

/** Sends one request. A redirection is an answer like another: the courier follows none. */
async function post(url: string, body: string, timeout: number): Promise<Answer> {
  const signal = AbortSignal.timeout(timeout);
  try {
    const response = await fetch(addressOf(url), {
      method: 'POST',
      body,
      // layer: no redirection
      redirect: 'manual',
      signal,
      headers: { 'content-type': 'text/plain; charset=utf-8', 'accept-encoding': 'identity' },
    });
    const type = (response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? '';
    return { status: response.status, type, body: await readBounded(url, response) };
  } catch (cause) {
    if (cause instanceof WitnessError) throw cause;
    if (signal.aborted) throw new WitnessError('timeout', `${url} gave no answer in ${timeout} ms`, { cause });
    throw new WitnessError('unreachable', `${url} cannot be reached`, { cause });
  }
}

function addressOf(url: string): URL {
  const address = URL.parse(`${url.replace(/\/+$/, '')}/add-checkpoint`);
  if (address !== null && /^https?:$/.test(address.protocol) && address.username === '') return address;
  throw new WitnessError('unreachable', `${url} is no address of a witness`);
}

/** **Bound**: the rest of a longer answer is not read. */
async function readBounded(url: string, response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    // layer: bound of an answer
    if (length > MAX_WITNESS_ANSWER_BYTES) {
      throw new WitnessError('protocol', `${url} answers more than ${MAX_WITNESS_ANSWER_BYTES} bytes`);
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function protocol({ url }: AskedWitness, what: string, cause?: unknown): WitnessError {
  return new WitnessError('protocol', `${url} ${what}`, { cause });
}
