/**
 * What a policy makes possible, counted out one by one over small sets of everything: the slow way to compare two
 * policies, written without the code that does it fast.
 */

import type { Policy } from '../src/index.ts';
import { key } from './base-policy.ts';

/** Lengths, sizes and days that the small policies are told apart by. */
const SECONDS = [86_400, 172_800, Number.MAX_SAFE_INTEGER];
const LENGTHS: Readonly<Record<string, number>> = { P1D: 86_400, P2D: 172_800, unlimited: Number.MAX_SAFE_INTEGER };
const DAYS = ['2027-01-01', '2027-01-02', '9999-01-01'];
const MIB = [64, 128, 1e9];
const MILLISECONDS = [500, 1000, 5000, 1e9];
const COUNTS = [0, 1, 2, 1e9];
const SCORES = [0, 50, 80];
const REGIONS = ['r1', 'r2', 'r3'];
const STRANGER = 'a caller that nobody knows';

/** Each thing that could happen under a policy, as a sentence. */
export function powersOf(policy: Policy): Set<string> {
  const powers = new Set<string>();
  const words = Object.keys(policy.data);
  const covered = (permitted: readonly string[]): string[] =>
    words.filter((word) => permitted.some((each) => word === each || word.startsWith(`${each}.`)));
  for (const [service, rules] of Object.entries(policy.services)) {
    for (const [method, rule] of Object.entries(rules)) {
      const m = `${service}/${method}`;
      powers.add(`${m} is answered`);
      const callers = rule.callers.includes('anyone') ? ['i1', 'i2', STRANGER] : rule.callers;
      for (const caller of callers) powers.add(`${m} by ${caller}`);
      for (const word of covered(rule.accepts)) powers.add(`${m} accepts ${word}`);
      for (const word of covered(rule.returns)) powers.add(`${m} returns ${word}`);
      for (const name of rule.reads) powers.add(`${m} reads ${name}`);
      for (const name of rule.stores) powers.add(`${m} stores ${name}`);
      for (const name of rule.sends) powers.add(`${m} sends ${name}`);
      const { attested = [] } = policy.access;
      // No category of these policies is personal.
      if (typeof attested === 'object' && !attested.some((each) => each === m)) powers.add(`${m} without evidence`);
    }
  }
  for (const [name, { holds, storage, retention }] of Object.entries(policy.collections)) {
    powers.add(`${name} exists`);
    for (const word of covered(holds)) powers.add(`${name} holds ${word}`);
    if (storage === 'sealed') powers.add(`${name} outlives the machine`);
    for (const age of SECONDS) if (age <= (LENGTHS[retention] ?? 0)) powers.add(`${name} is read after ${age}`);
  }
  for (const [name, { receives, assurance }] of Object.entries(policy.subprocessors)) {
    powers.add(`${name} exists`);
    for (const word of covered(receives)) powers.add(`${name} receives ${word}`);
    for (const day of DAYS)
      if (assurance === 'none' || day <= assurance.validUntil) powers.add(`${name} receives on ${day}`);
  }
  for (const region of REGIONS)
    if (policy.residency === 'none' || policy.residency.regions.includes(region)) powers.add(`data in ${region}`);
  for (const [name, { receives }] of Object.entries(policy.access.identities)) {
    powers.add(`${name} is known`);
    for (const word of covered(receives)) powers.add(`${name} receives ${word}`);
  }
  const { sovereignty, leaks, resources } = policy.governance;
  for (const score of SCORES)
    if (sovereignty === 'none' || score >= sovereignty.minScore) powers.add(`a score of ${score}`);
  for (const calls of COUNTS)
    if (sovereignty === 'none' || calls <= sovereignty.maxExternalCalls) powers.add(`${calls} calls`);
  for (const detector of ['email', 'iban'] as const) {
    for (const surface of ['egress', 'response'] as const) {
      if (leaks === 'none' || !leaks.detectors.includes(detector) || !leaks.on.includes(surface))
        powers.add(`${detector} on ${surface}`);
    }
  }
  const limit = (text: string): number => Number.parseInt(text, 10) * (/\ds$/.test(text) ? 1000 : 1);
  for (const mib of MIB) if (resources === 'none' || mib <= limit(resources.memory)) powers.add(`${mib} MiB`);
  for (const ms of MILLISECONDS) if (resources === 'none' || ms <= limit(resources.cpu)) powers.add(`${ms} ms of cpu`);
  for (const ms of MILLISECONDS) if (resources === 'none' || ms <= limit(resources.wall)) powers.add(`${ms} ms`);
  for (const count of COUNTS) if (resources === 'none' || count <= resources.inFlight) powers.add(`${count} at once`);
  for (const percent of [10, 100]) if (resources === 'none' || percent <= 10) powers.add(`pressure of ${percent}`);
  for (const degrees of [80, 200])
    if (resources === 'none' || resources.thermal === 'none' || degrees <= resources.thermal)
      powers.add(`${degrees} degrees`);
  for (const power of powersOverLog(policy)) powers.add(power);
  for (const kind of ['audited-system', 'no-undisclosed-recipients'])
    if (!policy.claims.some((claim) => claim.kind === kind)) powers.add(`no promise of ${kind}`);
  return powers;
}

/** The same of its log, and of its successors. */
function powersOverLog(policy: Policy): Set<string> {
  const powers = new Set<string>();
  const { durability, retention, review, witnesses, unwitnessed, mirror, readers = [] } = policy.evidence;
  for (const reader of readers) powers.add(`entries read by ${reader}`);
  if (durability === 'batched') powers.add('a response before its record');
  for (const age of SECONDS) if (age >= (LENGTHS[retention] ?? 0)) powers.add(`the log is gone after ${age}`);
  for (const gap of SECONDS)
    if (review === 'none' || gap <= (LENGTHS[review.every] ?? 0)) powers.add(`no review for ${gap}`);
  for (const by of [key('A'), key('B')])
    if (review === 'none' || review.by.some((each) => each === by)) powers.add(`review by ${by}`);
  for (const cosigners of [[], ['w1'], ['w2'], ['w1', 'w2']])
    if (isCosigned(witnesses, cosigners)) powers.add(`a checkpoint cosigned by ${cosigners.join(' and ')} alone`);
  for (const count of COUNTS) if (count <= (unwitnessed ?? 1e9)) powers.add(`${count} records that none cosigned`);
  if (mirror !== undefined) powers.add('records that a mirror alone holds');
  if (policy.succession !== 'none') {
    const { signers, notice } = policy.succession;
    for (const signer of signers) powers.add(`succession by ${signer}`);
    for (const after of SECONDS) if (after >= (LENGTHS[notice] ?? 0)) powers.add(`succession after ${after}`);
  }
  return powers;
}

/** Whether these of two witnesses are enough, by the few forms of lines that small policies have. */
function isCosigned(lines: readonly string[], by: readonly string[]): boolean {
  const named = ['w1', 'w2'].filter((name) => lines.some((line) => line.includes(`${name}.example`)));
  const any = lines.some((line) => line.startsWith('group quorum any'));
  return any ? named.some((name) => by.includes(name)) : named.every((name) => by.includes(name));
}
