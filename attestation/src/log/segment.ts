/**
 * Segments: stretches of the log, each closed by records that state what it holds for every control
 * (docs/reference/formats.md, "Segments").
 *
 * Without them, that the records of one control are all there would be known only from reading
 * every leaf, because only a leaf's content says which controls it serves.
 */

import { controlsOf, type Policy } from '@enclaim/policy-schema/admission';
import { digestText } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { leafHash, nodeHash } from '../merkle.ts';
import {
  type AnyRecord,
  type ControlTally,
  decodeEntry,
  type EvidenceRecord,
  MAX_SEGMENT_CONTROLS,
  type SegmentPart,
} from './record.ts';
import { treeRoot } from './tree-nodes.ts';

/** Records of one stretch, by control. */
export type ControlTallies = ReadonlyMap<string, ControlTally>;

/** The fields of a record that a segment counts. */
type Counted = Pick<EvidenceRecord, 'claims' | 'decision'>;

/** Controls that the same claims answer, and so the same records. */
class ControlGroup {
  readonly controls: string[] = [];
  readonly #counts = { allow: 0, deny: 0, error: 0, info: 0 };
  /** Roots of complete subtrees by height: the binary digits of the size. */
  readonly #nodes: (Uint8Array | undefined)[] = [];

  add(decision: keyof ControlTally & EvidenceRecord['decision'], leaf: Uint8Array): void {
    this.#counts[decision]++;
    let node = leaf;
    let height = 0;
    for (let left = this.#nodes[height]; left !== undefined; left = this.#nodes[height]) {
      node = nodeHash(left, node);
      this.#nodes[height++] = undefined;
    }
    this.#nodes[height] = node;
  }

  /** The counts and the root; undefined if nothing was counted. */
  get tally(): ControlTally | undefined {
    const frontier = this.#nodes.filter((node) => node !== undefined).reverse();
    return frontier.length === 0 ? undefined : { ...this.#counts, root: digestText('sha256', treeRoot(frontier)) };
  }
}

/**
 * Counts the records of a segment, and makes the tree of each control's leaves.
 *
 * **Bound**: it holds one hash for each height of each tree, whatever the number of records.
 * **Cost**: controls that the same claims answer share a tree, so that a record costs about one
 * hash for each of its claims.
 */
export class SegmentTally {
  readonly #policy: Policy;
  readonly #groups = new Map<string, ControlGroup>();
  /** Groups by a record's list of claims: the runtime uses few lists, again and again. */
  readonly #known = new WeakMap<readonly string[], readonly ControlGroup[]>();

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** @throws RangeError if the policy makes no such claim */
  add({ claims, decision }: Counted, leaf: Uint8Array): void {
    let groups = this.#known.get(claims);
    if (groups === undefined) {
      groups = this.#groupsOf(claims);
      this.#known.set(claims, groups);
    }
    for (const group of groups) group.add(decision, leaf);
  }

  /** Controls with a record, in ascending order. */
  get controls(): ControlTallies {
    const found = [...this.#groups.values()].flatMap(({ controls, tally }) =>
      tally === undefined ? [] : controls.map((control) => [control, tally] as const),
    );
    return new Map(found.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #groupsOf(claims: readonly string[]): ControlGroup[] {
    const groups = controlsOf(this.#policy, claims).map((control) => {
      const answered = this.#policy.claims.filter(({ controls }) => controls.includes(control)).map(({ id }) => id);
      const key = answered.join(' ');
      const group = this.#groups.get(key) ?? new ControlGroup();
      this.#groups.set(key, group);
      if (!group.controls.includes(control)) group.controls.push(control);
      return group;
    });
    return [...new Set(groups)];
  }
}

/** The parts that state a segment: a record holds so many controls, and there is at least one. */
export function segmentParts(first: number, end: number, controls: ControlTallies): SegmentPart[] {
  const entries = [...controls];
  const parts = Math.max(1, Math.ceil(entries.length / MAX_SEGMENT_CONTROLS));
  return Array.from({ length: parts }, (_, part) => {
    const some = entries.slice(part * MAX_SEGMENT_CONTROLS, (part + 1) * MAX_SEGMENT_CONTROLS);
    return { first, end, part, parts, controls: Object.fromEntries(some) };
  });
}

/** A segment as its records state it. */
export interface Segment {
  readonly policyDigest: EvidenceRecord['policyDigest'];
  /** Index of its first leaf. */
  readonly first: number;
  /** Index after its last leaf. */
  readonly end: number;
  /** A control that is not here has no record in the segment. */
  readonly controls: ControlTallies;
}

/**
 * A segment from all of its records, in order.
 *
 * **Trust**: authentic only by the places of these records in the log, as every record.
 * @throws DecodeError `truncated` if one is missing; `syntax` if they are not those of one segment
 */
export function readSegment(records: readonly AnyRecord[]): Segment {
  const parts = records.map((record) => {
    if (record.v !== 2 || record.segment === undefined) throw new DecodeError('syntax', 'not a segment record', 0);
    return { ...record.segment, policyDigest: record.policyDigest };
  });
  const [head] = parts;
  if (head === undefined || parts.length !== head.parts)
    throw new DecodeError('truncated', `${parts.length} of ${head?.parts ?? 'no'} records of a segment`, 0);
  const { first, end, policyDigest } = head;
  const controls = new Map<string, ControlTally>();
  let last = '';
  for (const [at, part] of parts.entries()) {
    const isOfIt = part.first === first && part.end === end && part.parts === parts.length && part.part === at;
    if (!isOfIt || part.policyDigest !== policyDigest)
      throw new DecodeError('syntax', `record ${at} is of another segment`, at);
    for (const [control, tally] of Object.entries(part.controls)) {
      if (control <= last) throw new DecodeError('syntax', `${control} stands twice, or out of order`, at);
      last = control;
      controls.set(control, tally);
    }
  }
  return { policyDigest, first, end, controls };
}

/**
 * Faults of a segment against all entries of its stretch, which a reader has from the log. Empty if
 * it states what they are.
 *
 * @param policy the policy of the segment's digest
 */
export function segmentFaults(segment: Segment, entries: readonly Uint8Array[], policy: Policy): string[] {
  const count = segment.end - segment.first;
  if (entries.length !== count) return [`${entries.length} entries, where the segment has ${count}`];
  const tally = new SegmentTally(policy);
  for (const [at, entry] of entries.entries()) {
    try {
      const record = decodeEntry(entry);
      if (record.policyDigest !== segment.policyDigest) throw new RangeError('a record of another policy');
      tally.add(record, leafHash(entry));
    } catch (error) {
      return [`leaf ${segment.first + at}: ${(error as Error).message}`];
    }
  }
  const found = tally.controls;
  return [...new Set([...segment.controls.keys(), ...found.keys()])].flatMap((control) =>
    differences(control, segment.controls.get(control), found.get(control)),
  );
}

/**
 * Faults of one control's records against what a segment states: whether these are all of them, and
 * in order. Costs these records, whatever else the segment holds.
 *
 * @param entries all entries of the control that a reader has of the stretch
 * @param policy the policy of the segment's digest
 */
export function controlFaults(
  segment: Segment,
  control: string,
  entries: readonly Uint8Array[],
  policy: Policy,
): string[] {
  const tally = new SegmentTally(policy);
  try {
    for (const entry of entries) {
      const record = decodeEntry(entry);
      if (record.policyDigest !== segment.policyDigest) throw new RangeError('a record of another policy');
      if (!controlsOf(policy, record.claims).includes(control)) throw new RangeError(`a record not of ${control}`);
      tally.add(record, leafHash(entry));
    }
  } catch (error) {
    return [(error as Error).message];
  }
  return differences(control, segment.controls.get(control), tally.controls.get(control));
}

const NO_RECORD = { allow: 0, deny: 0, error: 0, info: 0, root: 'none' } as const;

function differences(control: string, stated: ControlTally | undefined, found: ControlTally | undefined): string[] {
  const [said, is] = [stated ?? NO_RECORD, found ?? NO_RECORD];
  return (['allow', 'deny', 'error', 'info', 'root'] as const)
    .filter((field) => said[field] !== is[field])
    .map((field) => `${control}: ${field} is ${is[field]}, stated ${said[field]}`);
}
