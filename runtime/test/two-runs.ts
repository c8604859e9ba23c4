/**
 * Two runs that differ in nothing but secrets: calls that carry none of them see the same, while a clock moves and stores start again.
 * The one thing that they may see is by which read they came to carry one; there both runs end them (docs/security/channels.md, "Existence").
 *
 * It is for every store of collections: a test says how one is opened.
 */

import assert from 'node:assert/strict';
import type { ExposedMethod, Policy } from '@enclaim/policy-schema/admission';
import { fc } from '../../test/support/properties.ts';
import { given } from '../../test/support/worker-text.ts';
import { RefusalError } from '../src/errors.ts';
import { CallContext } from '../src/flow/call-flow.ts';
import type { StorageOperation } from '../src/flow/call-storage.ts';
import type { Collection } from '../src/storage/collection.ts';
import type { Json } from '../src/worker/json-text.ts';

/** Two collections, of which one may hold secrets, and milliseconds that they keep what they hold. */
export const RETENTION: Readonly<Record<string, number>> = { both: 10, open: 20 };
const RULE = { purpose: 'p', callers: ['anyone'], accepts: ['open', 'secret'], reads: ['both', 'open'], sends: [] };
const METHOD = {
  id: 'a.B/C',
  rule: { ...RULE, stores: ['both', 'open'], returns: ['open'] },
} as unknown as ExposedMethod;
const POLICY = {
  services: { 'a.B': { C: METHOD.rule } },
  collections: { both: { holds: ['open', 'secret'] }, open: { holds: ['open'] } },
  subprocessors: {},
  declassify: [],
  access: { cedar: '', identities: {} },
  governance: { leaks: 'none', sovereignty: 'none' },
} as unknown as Policy;

type Step =
  | { readonly kind: 'get' | 'read'; readonly collection: string; readonly key: string }
  | {
      readonly kind: 'put' | 'delete';
      readonly collection: string;
      readonly key: string;
      readonly condition: Condition;
    }
  | { readonly kind: 'list'; readonly collection: string; readonly after?: string; readonly limit?: number };
/** That the place has the version which was last read anywhere, or that nothing is there; by default none. */
type Condition = 'read' | 'nothing' | undefined;
/** Whether a handler is done well, or throws. */
type End = 'kept' | 'dropped';

/** What happens in both runs. What calls do that carry a secret is another thing in each. */
type Part =
  | { readonly kind: 'wait'; readonly milliseconds: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'secret'; readonly each: readonly (readonly Step[])[]; readonly ends: readonly End[] }
  /** Once it carries a secret, its handler does what it likes. */
  | {
      readonly kind: 'open';
      readonly label: readonly string[];
      readonly steps: readonly Step[];
      readonly each: readonly (readonly Step[])[];
      /** How both calls end, if they carry no secret; else how each does. */
      readonly end: End;
      readonly ends: readonly End[];
    };

const collection = fc.constantFrom('both', 'both', 'both', 'both', 'both', 'both', 'both', 'open');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const),
      collection,
      key: fc.constantFrom('k', 'l'),
      condition: fc.constantFrom(undefined, undefined, undefined, undefined, 'read' as const, 'nothing' as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('get' as const, 'get' as const, 'read' as const),
      collection,
      key: fc.constantFrom('k', 'l'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record(
      {
        kind: fc.constant('list' as const),
        collection,
        after: fc.constantFrom('', 'k'),
        limit: fc.constantFrom(1, 2),
      },
      { requiredKeys: ['kind', 'collection'] },
    ),
  },
);
/** Calls that do little see much: whoever has acted carries by the next read all that could be there. */
const little = fc.array(step, { minLength: 1, maxLength: 2, size: 'max' });
const some = fc.array(step, { maxLength: 3, size: 'max' });
const each = fc.oneof(fc.tuple(some, some), fc.tuple(some, fc.constant([])));
const label = fc.constantFrom([], ['open']);
const end = fc.constantFrom<End>('kept', 'kept', 'dropped');
const ends = fc.tuple(end, end);
const program: fc.Arbitrary<Part[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 2, 4, 6) }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('secret' as const), each, ends }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('open' as const), label, steps: little, each, end, ends }) },
  ),
  { minLength: 4, maxLength: 20, size: 'max' },
);

const on = (kind: 'get' | 'put', key: string): Step => {
  return kind === 'get' ? { kind, collection: 'both', key } : { kind, collection: 'both', key, condition: undefined };
};
const kept: readonly End[] = ['kept', 'kept'];
const open = (label: readonly string[], ...steps: readonly Step[]): Part => {
  return { kind: 'open', label, steps, each: [], end: 'kept', ends: kept };
};
/**
 * Something of a secret is stored in one run alone, and then written over by a call that carries none, with something that ends
 * before: how long it is remembered that something was there says that it was. Rare among random ones.
 */
const WRITTEN_OVER: Part[] = [
  open(['open'], on('put', 'l')),
  { kind: 'wait', milliseconds: 6 },
  { kind: 'secret', each: [[on('put', 'k')], []], ends: kept },
  open(['open'], on('get', 'l'), on('put', 'k')),
  { kind: 'wait', milliseconds: 6 },
  open([], on('get', 'k')),
];
/** A call that carries a secret changes something in both runs, and fails in one of them. */
const TAKEN_BACK: Part[] = [
  open(['open'], on('put', 'k')),
  { kind: 'secret', each: [[on('put', 'k')], [on('put', 'k')]], ends: ['kept', 'dropped'] },
  open([], on('get', 'k')),
];

/** The collections of one run. */
export interface Stores {
  readonly collections: ReadonlyMap<string, Collection>;
  /** Lets time pass. */
  wait(milliseconds: number): void;
  /** Places the record of a call's end. */
  record(): void;
  restart(): Promise<void>;
}

/** What a handler is told, what its call carries then, and the refusal in which it has fallen silent. */
interface Answered {
  readonly said: Json;
  readonly label: readonly string[];
  readonly end: string | undefined;
}

/** One of the two runs. */
class World {
  readonly stores: Stores;
  #call: CallContext;
  /** Whether a refusal has ended the call. */
  #isOver = false;
  /** Versions in the order in which they were seen: they are random, and no two alike. */
  readonly #versions: (string | null)[] = [null];
  /** The version that was last read. */
  #version = 'none';

  constructor(stores: Stores) {
    this.stores = stores;
    this.#call = new CallContext(POLICY, METHOD, stores.collections);
  }

  begin(label: readonly string[]): CallContext {
    this.#call = new CallContext(POLICY, METHOD, this.stores.collections);
    this.#isOver = false;
    this.#call.accept(new Set(label), []);
    return this.#call;
  }

  /** Ends a call as its handler ends, or as it was refused. */
  end(how: End): void {
    const isKept = how === 'kept' && !this.#isOver && this.#call.silenced() === undefined;
    if (isKept) this.#call.check();
    this.stores.record();
    this.#call.end(isKept ? 'kept' : 'dropped');
  }

  async step(step: Step, value: string): Promise<Answered> {
    let said: Json = 'over';
    try {
      if (!this.#isOver) said = JSON.parse(await this.#call.perform(this.#asked(step, value))) as Json;
    } catch (error) {
      assert(error instanceof RefusalError, String(error));
      said = `refused: ${error.code}`;
      this.#isOver = error.final;
    }
    return { said, label: this.#call.label, end: this.#call.silenced()?.refusal.message };
  }

  get isClosed(): boolean {
    return this.#call.label.includes('secret');
  }

  #asked(step: Step, value: string): StorageOperation {
    const asked = { call: 0, operation: 0 };
    if (!('condition' in step)) return { ...asked, ...step };
    const { kind, condition, ...place } = step;
    const ifVersion = condition === 'read' ? this.#version : condition && null;
    const change = { ...asked, ...place, ...(condition !== undefined && { ifVersion }) };
    return kind === 'put' ? { ...change, kind, json: given(value) } : { ...change, kind };
  }

  /** An answer that a call without a secret was given, with the number of a version in its place. */
  known<T extends { readonly said: Json }>(step: T): T {
    return { ...step, said: this.#numbered(step.said) };
  }

  #numbered(answer: Json): Json {
    if (typeof answer !== 'object' || answer === null || !('version' in answer)) return answer;
    const version = String(answer.version);
    if (!this.#versions.includes(version)) this.#versions.push(version);
    this.#version = version;
    return { ...answer, version: this.#versions.indexOf(version) };
  }
}

/** What open calls came to. */
export interface Seen {
  conflicts: number;
  values: number;
  nothing: number;
  lists: number;
  closed: number;
  'closed in one': number;
}

/**
 * Runs a program in both worlds, and compares what open calls see.
 *
 * @param open opens the collections of a run
 * @param unlike whether calls that carry a secret may change other places in each run; else they differ in what they store and in
 * how they end
 */
function runner(open: () => Promise<Stores>, seen: Seen, unlike: boolean): (program: readonly Part[]) => Promise<void> {
  /** What the call of a run does that carries a secret. */
  const stepsOf = (each: readonly (readonly Step[])[], i: number): readonly Step[] => {
    const changes = (each[0] ?? []).filter((step) => 'condition' in step && step.condition === undefined);
    return unlike ? (each[i] ?? []) : changes;
  };
  return async (program) => {
    const worlds = [new World(await open()), new World(await open())] as const;
    const goOn = async (each: readonly (readonly Step[])[]): Promise<void> => {
      for (const [i, world] of worlds.entries()) {
        if (!world.isClosed) continue;
        for (const [at, step] of stepsOf(each, i).entries()) await world.step(step, `secret ${i} ${at}`);
      }
    };
    for (const [at, part] of program.entries()) {
      switch (part.kind) {
        case 'wait':
          for (const world of worlds) world.stores.wait(part.milliseconds);
          break;
        case 'restart':
          for (const world of worlds) await world.stores.restart();
          break;
        case 'secret':
          for (const world of worlds) world.begin(['secret']);
          await goOn(part.each);
          for (const [i, world] of worlds.entries()) world.end(part.ends[i] ?? 'kept');
          break;
        case 'open': {
          for (const world of worlds) world.begin(part.label);
          for (const [i, step] of part.steps.entries()) {
            const said = await worlds[0].step(step, `${at} ${i}`);
            const otherwise = await worlds[1].step(step, `${at} ${i}`);
            const closed = worlds.filter((world) => world.isClosed).length;
            assert.ok(unlike || closed !== 1, `part ${at}, step ${i}: only one run carries a secret then`);
            if (closed > 0) {
              seen[closed === 1 ? 'closed in one' : 'closed']++;
              break;
            }
            const [one, other] = [worlds[0].known(said), worlds[1].known(otherwise)];
            assert.deepEqual(one, other, `part ${at}, step ${i}: ${JSON.stringify(step)}`);
            if (step.kind === 'list') seen.lists++;
            if (one.said === 'refused: conflict') seen.conflicts++;
            if (step.kind === 'get') seen[one.said === null ? 'nothing' : 'values']++;
          }
          await goOn(part.each);
          // Where one alone came to carry a secret, by what it read, the other one is ended there, as if it had not been.
          const isOneClosed = worlds[0].isClosed !== worlds[1].isClosed;
          for (const [i, world] of worlds.entries()) {
            if (world.isClosed) world.end(part.ends[i] ?? part.end);
            else if (!isOneClosed) world.end(part.end);
          }
        }
      }
    }
  };
}

/**
 * Runs programs on a store, of both kinds, and says how many calls came to what.
 *
 * @throws AssertionError where an open call sees another thing in one of the runs, or too little was seen to say so
 */
export async function compareRuns(open: () => Promise<Stores>, programs: number, unlike: boolean): Promise<Seen> {
  const seen: Seen = { conflicts: 0, values: 0, nothing: 0, lists: 0, closed: 0, 'closed in one': 0 };
  const examples: [Part[]][] = [[unlike ? WRITTEN_OVER : TAKEN_BACK]];
  await fc.assert(fc.asyncProperty(program, runner(open, seen, unlike)), { numRuns: programs, examples });
  for (const [kind, times] of Object.entries(seen))
    if (unlike || kind !== 'closed in one') assert.ok(times > programs / 1000, `${kind}: ${times}`);
  return seen;
}
