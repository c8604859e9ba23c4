/** Boots of a pretended machine with a log each, and proofs that only a holder of all their keys could make. */

import { create } from '@bufbuild/protobuf';
import { fromBase64Url, utf8 } from '@enclaim/attestation/bytes';
import { digestText, type Sha256 } from '@enclaim/attestation/digest';
import type { Evidence } from '@enclaim/attestation/evidence';
import { type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import { leafHash } from '@enclaim/attestation/merkle';
import type { NamedRecord } from '@enclaim/attestation/record-proof';
import { type BootStatement, bootDigest, encodeStatement } from '@enclaim/attestation/statement';
import { formatCheckpoint, formatNote, noteKey, signatureLine } from '@enclaim/attestation/tlog';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import { type BootKeys, makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { evidenceOf } from '../../runtime/src/channel/handshake.ts';
import { type CheckpointedLog, Checkpoints } from '../../runtime/src/hardware/checkpoints.ts';
import { QuoteBatcher, type SignedLeaf } from '../../runtime/src/hardware/quote-batch.ts';
import { type FakeAttestationKey, fakeAttestationKey } from '../fakes/attestation-key.ts';
import { MemoryLog } from './memory-log.ts';
import { type PretendMachine, pretendMachine } from './pretend-machine.ts';
import { policyOf } from './pretend-server.ts';

export const key: FakeAttestationKey = fakeAttestationKey();
const policyBytes = canonicalPolicy(parsePolicy(policyOf()));
export const machine: PretendMachine = pretendMachine(key, policyBytes);
export const recordHash = (i: number): Sha256 => leafHash(utf8(`record ${i}`));
export const named = (i: number): NamedRecord => ({ index: i, record: digestText('sha256', recordHash(i)) });

/** A boot with a log that goes on from what it found. */
export interface Boot<Log extends CheckpointedLog = MemoryLog> {
  readonly keys: BootKeys;
  readonly statement: BootStatement;
  readonly log: Log;
  readonly batcher: QuoteBatcher;
  readonly checkpoints: Checkpoints;
  evidenceOf(signed: SignedLeaf): Evidence;
  /** Signs a checkpoint of any tree under any origin and key, as only the runtime could. */
  note(size: number, root: Uint8Array, options?: { origin?: string; by?: BootKeys }): { text: string; note: string };
}

/** Parts of a boot that differ: what it found on its disk, its machine, its policy, its statement. */
interface BootOptions {
  readonly found?: number;
  readonly on?: PretendMachine;
  readonly policy?: Uint8Array;
  readonly other?: Partial<BootStatement>;
}

/** Boots, with so many records found on the disk. */
export function boot({ found = 0, ...options }: BootOptions = {}): Boot {
  return bootWith(new MemoryLog(Array.from({ length: found }, (_, i) => recordHash(i))), options);
}

/** Boots with a log. @param keep keeps quotes for later boots */
export function bootWith<Log extends CheckpointedLog>(
  log: Log,
  { on = machine, policy = policyBytes, other = {} }: Omit<BootOptions, 'found'> = {},
  keep?: (quote: Uint8Array) => Promise<void>,
): Boot<Log> {
  const keys = makeBootKeys();
  const plain = on.statementOf(keys);
  const { size } = log.began;
  const root = digestText('sha256', log.began.root);
  const statement = { ...plain, log: { ...plain.log, size, root }, ...other } as BootStatement;
  const bytes = encodeStatement(statement);
  const digest = bootDigest(bytes);
  const batcher = new QuoteBatcher(async (of) => on.quote(of, digest));
  const platform = { kind: statement.platform } as Parameters<typeof evidenceOf>[1]['platform'];
  const evidence = (signed: SignedLeaf): Evidence => evidenceOf(signed, { platform, statement: bytes, policy });
  const { origin } = statement.log;
  const checkpoints = new Checkpoints({
    log,
    origin,
    keys,
    quotes: batcher,
    within: 0,
    evidenceOf: evidence,
    ...(keep && { keep }),
  });
  const note: Boot<Log>['note'] = (size, of, { origin: under = origin, by = keys } = {}) => {
    const text = formatCheckpoint({ origin: under, size, root: of, extensions: [] });
    const signer = noteKey(under, 'ed25519', fromBase64Url(by.log.slice('ed25519:'.length)));
    return { text, note: formatNote(text, [signatureLine(signer, by.signCheckpoint(utf8(text)))]) };
  };
  return { keys, statement, log, batcher, checkpoints, evidenceOf: evidence, note };
}

/** Gives a boot records up to a number. */
export function grow(one: Boot, upTo: number): Boot {
  while (one.log.hashes.length < upTo) one.log.place(recordHash(one.log.hashes.length));
  one.log.flush();
  return one;
}

/** A proof made by whoever holds all keys of a boot: of any leaf, path and note. */
export async function forged(
  one: Boot,
  index: number,
  path: Uint8Array[],
  checkpoint: string,
  leaf: Uint8Array,
): Promise<LogProof> {
  const evidence = one.evidenceOf(await one.batcher.add(leaf));
  return create(LogProofSchema, { index: BigInt(index), path, checkpoint, evidence });
}
