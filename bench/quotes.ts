/**
 * Records under a quote of the hardware: callers that each wait for the proof of their own durable
 * record, beside one quote for each; on a software TPM as it is, and with 200 ms before each of its
 * answers, as a chip takes. Then the bytes of a proof in a log of 10⁸ records.
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
import { type Attester, openAttester } from '../guest/src/tpm/index.ts';
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
const SECONDS = 3;
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

/** Callers, each with one record after another, that wait until theirs is under a quote. */
async function callers(
  count: number,
  attester: Attester,
  pause: number,
  each: 'batched' | 'one each',
): Promise<Figures> {
  const path = join(folder, freshHex(8));
  await using file = await open(path, 'w');
  await file.truncate(1024 * MIB);
  const device = await openDevice(path);
  const log = await RecordLog.open(device, 1024 * MIB);
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
  let last: Promise<unknown> = Promise.resolve();
  const alone = (index: number): Promise<unknown> => {
    last = last.then(() => sign(sha256(utf8(`${index}`))));
    return last;
  };
  const times: number[] = [];
  const before = process.cpuUsage();
  const began = performance.now();
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
  const made = quotes;
  await calls;
  await device.close();
  await rm(path);
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

function show(name: string, { rate, quotes, p50, p99, cpu }: Figures, of?: Figures): void {
  const ratio = of === undefined ? '' : `, ${(rate / of.rate).toFixed(0)} × one each`;
  console.log(
    `${name.padEnd(34)} ${rate.toFixed(1).padStart(9)}/s${ratio}, ${quotes.toFixed(1)} quotes/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ${cpu.toFixed(0)} µs of processor each`,
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

const swtpm = await startSwtpm();
const attester = await openAttester(await swtpm.connect());
for (const pause of [0, SLOW_MS]) {
  console.log(pause === 0 ? 'software TPM as it is' : `${pause} ms before each of its answers`);
  const one = await callers(64, attester, pause, 'one each');
  show('one quote each, 64 callers', one);
  for (const count of [64, 4096])
    show(`batched, ${count} callers`, await callers(count, attester, pause, 'batched'), one);
}
proofBytes(100_000_000);
await attester.close();
await swtpm.stop();
await rm(folder, { recursive: true });
process.exit(0);
