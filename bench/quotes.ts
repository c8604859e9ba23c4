/**
 * Records under a quote of the hardware: callers that each wait for the proof of their own durable
 * record, beside one quote for each; on a software TPM as it is, and with 200 ms before each of its
 * answers, as a chip takes. Rounds in turn, medians of them. Then the bytes of a proof in a log of
 * 10⁸ records.
 *
 * `node bench/quotes.ts`
 */

import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { tpmExtraData } from '@enclaim/attestation/batch';
import { fromBase64Url, utf8 } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { EvidenceSchema } from '@enclaim/attestation/evidence';
import { LogProofSchema } from '@enclaim/attestation/log-service';
import { encodeRecordProof } from '@enclaim/attestation/record-proof';
import { formatCheckpoint, formatNote, noteKey, signatureLine } from '@enclaim/attestation/tlog';
import { openAttester } from '../guest/src/tpm/index.ts';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { Checkpoints } from '../runtime/src/hardware/checkpoints.ts';
import type { HardwareEvidence } from '../runtime/src/hardware/platform.ts';
import { QuoteBatcher } from '../runtime/src/hardware/quote-batch.ts';
import { openDevice } from '../runtime/src/log/device.ts';
import { type Entry, RecordLog } from '../runtime/src/log/record-log.ts';
import { freshHex } from '../runtime/src/random-pool.ts';
import { startSwtpm } from '../test/fakes/swtpm.ts';
import { scratchFolder } from './scratch.ts';

const MIB = 1024 * 1024;
/** Bytes of the log. */
const LOG_BYTES = 256 * MIB;
const SECONDS = 3;
const ROUNDS = 3;
const SLOW_MS = 200;
const ORIGIN = `bench/${'0'.repeat(32)}`;
const BOOT = sha256(utf8('a boot statement'));
const folder = await scratchFolder();
const keys = makeBootKeys();

const record = (): Entry => ({
  v: 2,
  id: freshHex(16),
  time: new Date().toISOString(),
  timeStrength: 'host',
  layer: 'runtime',
  system: 'clinic',
  policyDigest: `sha384:${'5e'.repeat(48)}`,
  claims: ['access-logged'],
  decision: 'allow',
  reason: 'ok',
  method: 'clinic.v1.Intake/Submit',
  label: ['personal.contact.email', 'personal.health'],
  sink: null,
  figures: { response: 1 },
  basis: 'enforced',
});

interface Figures {
  readonly rate: number;
  readonly quotes: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
}

const path = join(folder, 'log');
await using file = await open(path, 'w');
// A device has its blocks; a file that grows has to find them.
for (let at = 0; at < LOG_BYTES; at += MIB) await file.write(new Uint8Array(MIB));
await file.sync();
const log = await RecordLog.open(await openDevice(path), LOG_BYTES);
const swtpm = await startSwtpm();
const attester = await openAttester(await swtpm.connect());
let pause = 0;
let quotes = 0;
const sign = async (root: Uint8Array): Promise<HardwareEvidence> => {
  quotes++;
  if (pause > 0) await delay(pause);
  const { attest, signature } = await attester.quote(tpmExtraData(root, BOOT));
  return { case: 'tpm', value: { attest, signature } };
};
const checkpoints = new Checkpoints({
  log,
  origin: ORIGIN,
  keys,
  quotes: new QuoteBatcher(sign),
  within: 0,
  evidenceOf: ({ leaf, hardware }) => create(EvidenceSchema, { leaf: { ...leaf, path: [...leaf.path] }, hardware }),
});

/** Callers, each with one record after another, that wait until theirs is under a quote. */
async function callers(count: number, each: 'batched' | 'one each'): Promise<Figures> {
  // The file is a ring: a mirror would hold what it had.
  log.forget(log.durable.size);
  let last: Promise<unknown> = Promise.resolve();
  const alone = (index: number): Promise<unknown> => {
    last = last.then(() => sign(sha256(utf8(`${index}`))));
    return last;
  };
  const times: number[] = [];
  const before = process.cpuUsage();
  const began = performance.now();
  const quoted = quotes;
  let ended = false;
  const call = async (): Promise<void> => {
    while (!ended) {
      const at = performance.now();
      const { index, durable } = log.place(record());
      await durable;
      await (each === 'batched' ? checkpoints.proofOf(index) : alone(index));
      if (!ended) times.push(performance.now() - at);
    }
  };
  const calls = Promise.all(Array.from({ length: count }, call));
  await delay(SECONDS * 1000);
  ended = true;
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  const made = quotes - quoted;
  await calls;
  times.sort((one, other) => one - other);
  const at = (part: number): number => times[Math.floor(times.length * part)] ?? Number.NaN;
  return {
    rate: times.length / seconds,
    quotes: made / seconds,
    p50: at(0.5),
    p99: at(0.99),
    cpu: (user + system) / times.length,
  };
}

const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** Prints medians of the rounds, and between which ratios to one quote each they lay. */
function show(name: string, rounds: readonly Figures[], of: readonly Figures[]): void {
  const figure = (which: keyof Figures, digits: number): string =>
    middle(rounds.map((each) => each[which])).toFixed(digits);
  const ratios = rounds.map(({ rate }, round) => rate / (of[round]?.rate ?? rate)).toSorted((a, b) => a - b);
  const ratio = `${middle(ratios).toFixed(0)} × (${ratios[0]?.toFixed(0)} to ${ratios.at(-1)?.toFixed(0)})`;
  console.log(
    `${name.padEnd(30)}${figure('rate', 1).padStart(9)}/s, ${ratio}, ${figure('quotes', 1)} quotes/s, p50 ${figure('p50', 1)} ms, p99 ${figure('p99', 1)} ms, ${figure('cpu', 0)} µs of processor each`,
  );
}

/** Bytes of a proof without its evidence, and of the way through the batch. */
function proofBytes(size: number): void {
  const length = Math.ceil(Math.log2(size));
  const hash = sha256(utf8('a node'));
  const text = formatCheckpoint({ origin: ORIGIN, size, root: hash, extensions: [] });
  const key = noteKey(ORIGIN, 'ed25519', fromBase64Url(keys.log.slice('ed25519:'.length)));
  const checkpoint = formatNote(text, [signatureLine(key, keys.signCheckpoint(utf8(text)))]);
  const path = Array.from({ length }, () => hash);
  const bytes = encodeRecordProof(create(LogProofSchema, { index: BigInt(size - 2), path, checkpoint })).length;
  const leaf = text.length + 5 + 6 * 34;
  console.log(
    `a proof at ${size} records: ${bytes} bytes, of which ${length} hashes; ${leaf} of leaf and batch in the evidence`,
  );
}

for (pause of [0, SLOW_MS]) {
  console.log(pause === 0 ? 'software TPM as it is' : `${pause} ms before each of its answers`);
  const rounds: Record<'one' | 'few' | 'many', Figures[]> = { one: [], few: [], many: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rounds.one.push(await callers(64, 'one each'));
    rounds.few.push(await callers(64, 'batched'));
    rounds.many.push(await callers(4096, 'batched'));
  }
  show('one quote each, 64 callers', rounds.one, rounds.one);
  show('batched, 64 callers', rounds.few, rounds.one);
  show('batched, 4096 callers', rounds.many, rounds.one);
}
proofBytes(100_000_000);
await attester.close();
await swtpm.stop();
await rm(folder, { recursive: true });
process.exit(0);
