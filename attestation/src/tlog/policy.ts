/**
 * Trust policies of logs (C2SP tlog-policy) with their keys read, and whether cosignatures reach a
 * policy's quorum.
 */

import {
  readTlogPolicy,
  readWitnessLines,
  type TlogPolicy,
  type TlogPolicyReading,
} from '@enclaim/policy-schema/tlog-policy';
import { fromUtf8 } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { formatNoteKey, type NoteAlgorithm, type NoteKey, parseNoteKey, type VerifiedSignature } from './note.ts';

/** A log or a witness of a policy. */
export interface PolicyMember {
  readonly key: NoteKey;
  /** Where to reach it, or undefined. */
  readonly url: string | undefined;
}

/** Which checkpoints count: signed by one of the logs, and cosigned by the quorum. */
export interface WitnessPolicy {
  readonly logs: readonly PolicyMember[];
  /** By the names that groups and quorum use. */
  readonly witnesses: ReadonlyMap<string, PolicyMember>;
  readonly groups: TlogPolicy['groups'];
  readonly quorum: string;
}

const MAX_POLICY_BYTES = 1 << 18;
const LOG_KEYS: readonly NoteAlgorithm[] = ['ed25519', 'ml-dsa-44'];
const WITNESS_KEYS: readonly NoteAlgorithm[] = ['cosignature/v1', 'ml-dsa-44'];

/**
 * Reads a policy file.
 * @throws DecodeError `syntax`; of a key as `parseNoteKey`
 */
export function parseTlogPolicy(bytes: Uint8Array): WitnessPolicy {
  if (bytes.length > MAX_POLICY_BYTES) throw new DecodeError('range', `policy of ${bytes.length} bytes`, 0);
  // Octets as characters: the format knows ASCII and compares everything else as it is.
  return withKeys(readTlogPolicy(latin1(bytes)), (text) => fromUtf8(Uint8Array.from(text, (one) => one.charCodeAt(0))));
}

/**
 * Reads the lines of `evidence.witnesses`: witnesses, groups and the quorum in any order, or bare
 * keys that must all cosign.
 * @throws DecodeError `syntax`; of a key as `parseNoteKey`
 */
export function parseWitnessLines(lines: readonly string[]): WitnessPolicy {
  return withKeys(readWitnessLines(lines), (text) => text);
}

function withKeys(reading: TlogPolicyReading, textOf: (octets: string) => string): WitnessPolicy {
  if ('fault' in reading) {
    const { line, why } = reading.fault;
    throw new DecodeError('syntax', line === 0 ? why : `line ${line}: ${why}`, 0);
  }
  const { logs, witnesses, groups, quorum } = reading.policy;
  const member = (kinds: readonly NoteAlgorithm[], { vkey, url }: TlogPolicy['logs'][number]): PolicyMember => {
    const key = parseNoteKey(textOf(vkey));
    if (!kinds.includes(key.algorithm)) throw new DecodeError('syntax', `key ${key.name} is for ${key.algorithm}`, 0);
    return { key, url: url === undefined ? undefined : textOf(url) };
  };
  return {
    logs: logs.map((log) => member(LOG_KEYS, log)),
    witnesses: new Map([...witnesses].map(([name, witness]) => [name, member(WITNESS_KEYS, witness)])),
    groups,
    quorum,
  };
}

/**
 * Whether these signatures of one checkpoint reach the quorum.
 *
 * Only keys that the policy names count, each for its one witness, and a cosignature of the second
 * 0 never: with it a witness says nothing about the largest tree that it has seen.
 */
export function reachesQuorum(policy: WitnessPolicy, verified: readonly VerifiedSignature[]): boolean {
  return countsAs(policy, policy.quorum, cosigners(policy, verified));
}

/** Names of the policy's witnesses that signed. */
export function cosigners(policy: WitnessPolicy, verified: readonly VerifiedSignature[]): Set<string> {
  const signed = verified.filter(({ timestamp }) => timestamp !== undefined && timestamp !== 0n);
  const has = ({ key }: PolicyMember): boolean => signed.some((one) => formatNoteKey(one.key) === formatNoteKey(key));
  return new Set([...policy.witnesses].filter(([, witness]) => has(witness)).map(([name]) => name));
}

/** A name is a member of one group at most, so every name is visited once. */
function countsAs(policy: WitnessPolicy, name: string, signers: ReadonlySet<string>): boolean {
  if (name === 'none') return true;
  const group = policy.groups.get(name);
  if (group === undefined) return signers.has(name);
  return group.members.filter((member) => countsAs(policy, member, signers)).length >= group.threshold;
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
