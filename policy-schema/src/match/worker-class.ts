/**
 * Classes of methods that may share worker processes, computed from the rules alone, and the same
 * wherever it runs.
 *
 * **Leak**: all calls of a worker run one compiled bundle, and one call can see what the engine has
 * learned of its code by another. So calls share a process only if each may tell what the other may
 * learn.
 */

import { type Categories, type Category, covers, uncovered } from '../category.ts';
import { ANYONE, type MethodId, type Policy, type Rule } from '../policy.ts';
import { ANY_TYPE, survey } from './handling.ts';
import type { OutboundMethod } from './outbound.ts';

/**
 * Classes that one policy may need. Each is an idle process of some 34 MiB, and one more while
 * calls of it run alone.
 *
 * @example
 * ```ts
 * import { MAX_WORKER_CLASSES } from '@enclaim/policy-schema/workers';
 *
 * console.log(`at most ${MAX_WORKER_CLASSES} processes for one policy`);
 * ```
 */
export const MAX_WORKER_CLASSES = 16;

/** A method with its rule. */
export interface RuledMethod {
  readonly id: MethodId;
  readonly rule: Rule;
}

/** Methods whose calls may share a worker process. */
export interface WorkerClass {
  /** Sorted. */
  readonly methods: readonly MethodId[];
  /** Everything that calls of the class may learn, sorted. */
  readonly learns: readonly Category[];
}

/** Why two methods may not share a process. */
export interface Obstacle {
  /** The method that may learn. */
  readonly learner: MethodId;
  /** Categories that it may learn and that the other may not put there, sorted. */
  readonly categories: readonly Category[];
  /** The method that may tell. */
  readonly teller: MethodId;
  /** Where: `response`, `response to IDENTITY`, `store NAME`, `send NAME`. */
  readonly sink: string;
}

/** Everything that a method may learn, and every place where it may put something. */
interface Reach extends RuledMethod {
  readonly learns: Categories;
  readonly sinks: readonly { readonly name: string; readonly clearance: Categories }[];
}

/**
 * Parts methods into classes. Each method joins the first class, in the order of names, with all of
 * which it may share. Two methods share a process in two cases:
 *
 * - Everything that one may learn is within every clearance of the other, both ways.
 * - The policy grants both the very same. Then a process carries nothing between them that calls of
 *   one of them do not carry among themselves.
 *
 * @param outbound methods of subprocessors, whose answers may carry more than the subprocessor
 *   receives
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { match, parsePolicy, readDescriptors } from '@enclaim/policy-schema';
 * import { workerClasses } from '@enclaim/policy-schema/workers';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * const descriptors = readDescriptors(await readFile('descriptors.binpb'));
 * const { exposed } = match(descriptors, policy);
 * for (const { methods } of workerClasses(policy, exposed)) console.log(methods);
 * ```
 */
export function workerClasses(
  policy: Policy,
  methods: Iterable<RuledMethod>,
  outbound: readonly OutboundMethod[] = [],
): readonly WorkerClass[] {
  const alike = new Map<string, [Reach, ...Reach[]]>();
  for (const method of [...methods].sort(({ id: a }, { id: b }) => (a < b ? -1 : 1))) {
    const reach = reachOf(policy, method, outbound);
    const grants = grantsOf(policy, method);
    const same = alike.get(grants);
    if (same === undefined) alike.set(grants, [reach]);
    else same.push(reach);
  }
  const classes: [Reach, ...Reach[]][][] = [];
  for (const kind of alike.values()) {
    const found = classes.find((kinds) => kinds.every(([other]) => obstacleBetween(kind[0], other) === undefined));
    if (found === undefined) classes.push([kind]);
    else found.push(kind);
  }
  return classes.map((kinds) => {
    const reaches = kinds.flat();
    return {
      methods: reaches.map(({ id }) => id).sort(),
      learns: [...new Set(reaches.flatMap(({ learns }) => [...learns]))].sort(),
    };
  });
}

/**
 * Why two methods may not share a process, the first reason found; undefined if they may.
 * Parameters as for {@link workerClasses}.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { match, parsePolicy, readDescriptors } from '@enclaim/policy-schema';
 * import { obstacle } from '@enclaim/policy-schema/workers';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * const descriptors = readDescriptors(await readFile('descriptors.binpb'));
 * const [one, other] = match(descriptors, policy).exposed;
 * // Undefined if they may share a process.
 * if (one && other) console.log(obstacle(policy, one, other));
 * ```
 */
export function obstacle(
  policy: Policy,
  a: RuledMethod,
  b: RuledMethod,
  outbound: readonly OutboundMethod[] = [],
): Obstacle | undefined {
  if (grantsOf(policy, a) === grantsOf(policy, b)) return undefined;
  return obstacleBetween(reachOf(policy, a, outbound), reachOf(policy, b, outbound));
}

function obstacleBetween(a: Reach, b: Reach): Obstacle | undefined {
  return leak(a, b) ?? leak(b, a);
}

function leak({ id: learner, learns }: Reach, { id: teller, sinks }: Reach): Obstacle | undefined {
  const sink = sinks.find(({ clearance }) => !covers(clearance, learns));
  return sink && { learner, categories: uncovered(sink.clearance, learns), teller, sink: sink.name };
}

/**
 * The reach of a method: all that it may learn, and its sinks.
 *
 * - A caller's request may go back to that caller, and not to callers of other methods. So what a
 *   method accepts counts as learned.
 * - A release goes to a subprocessor that `sends` names.
 * - The log is no sink here, because it tells no two methods apart. It has an event as the handler
 *   worded it only in the name of a call that carries nothing, whichever method it calls.
 */
function reachOf(policy: Policy, { id, rule }: RuledMethod, outbound: readonly OutboundMethod[]): Reach {
  const holds = (name: string): Categories => policy.collections[name]?.holds ?? [];
  const receives = (name: string): Categories => policy.subprocessors[name]?.receives ?? [];
  const known = rule.callers.filter((caller) => caller !== ANYONE);
  const answers = outbound.filter(({ subprocessor }) => rule.sends.includes(subprocessor));
  return {
    id,
    rule,
    learns: new Set([
      ...rule.accepts,
      ...known.flatMap((caller) => policy.access.identities[caller]?.category ?? []),
      ...rule.reads.flatMap((name) => [...holds(name)]),
      ...rule.sends.flatMap((name) => [...receives(name)]),
      ...answers.flatMap((method) => answerOf(policy, method)),
    ]),
    sinks: [
      { name: 'response', clearance: rule.returns },
      ...known.map((caller) => ({
        name: `response to ${caller}`,
        clearance: policy.access.identities[caller]?.receives ?? [],
      })),
      ...rule.stores.map((name) => ({ name: `store ${name}`, clearance: holds(name) })),
      ...rule.sends.map((name) => ({ name: `send ${name}`, clearance: receives(name) })),
    ],
  };
}

/** All that an answer may carry; an Any in it may hold whatever there is. */
function answerOf({ data }: Policy, { descriptor }: OutboundMethod): Category[] {
  const { carriers, label } = survey(descriptor.output);
  return carriers.some(({ field }) => field.message?.typeName === ANY_TYPE) ? Object.keys(data) : [...label];
}

/**
 * A text that two methods have in common if the policy grants both the same. A release is one
 * method's alone.
 */
function grantsOf({ declassify }: Policy, { id, rule }: RuledMethod): string {
  const { accepts, callers, reads, returns, sends, stores } = rule;
  const releases = declassify.filter(({ method }) => method === id).map((release) => release.id);
  return JSON.stringify([accepts, callers, reads, releases, returns, sends, stores]);
}
