/**
 * Two runs that differ in nothing but secrets: calls that carry none of them see the same, while a clock moves and stores start again.
 * The one thing that they may see is by which read they came to carry one; there both runs end them (docs/security/channels.md, "Existence").
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExposedMethod, Policy } from '@enclaim/policy-schema/admission';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { given } from '../../test/support/worker-text.ts';
import { RefusalError } from '../src/errors.ts';
import { CallContext } from '../src/flow/call-flow.ts';
import { VolatileCollection } from '../src/storage/volatile.ts';
import type { Json } from '../src/worker/json-text.ts';

const PROGRAMS = count(5000, 20_000);
/** Two collections, of which one may hold secrets, and milliseconds that they keep what they hold. */
const RETENTION = { both: 10, open: 20 } as const;
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
  | { readonly kind: 'get' | 'put' | 'delete'; readonly collection: string; readonly key: string }
  | { readonly kind: 'list'; readonly collection: string };

/** What happens in both runs. What calls do that carry a secret is another thing in each. */
type Part =
  | { readonly kind: 'wait'; readonly milliseconds: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'secret'; readonly each: readonly (readonly Step[])[] }
  /** Once it carries a secret, its handler does what it likes. */
  | {
      readonly kind: 'open';
      readonly label: readonly string[];
      readonly steps: readonly Step[];
      readonly each: readonly (readonly Step[])[];
    };

const collection = fc.constantFrom('both', 'both', 'both', 'both', 'both', 'both', 'both', 'open');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('get' as const, 'get' as const, 'put' as const, 'put' as const, 'delete' as const),
      collection,
      key: fc.constantFrom('k', 'l'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('list' as const), collection }) },
);
/** Calls that do little see much: whoever has acted carries by the next read all that could be there. */
const little = fc.array(step, { minLength: 1, maxLength: 2, size: 'max' });
const some = fc.array(step, { maxLength: 3, size: 'max' });
const each = fc.oneof(fc.tuple(some, some), fc.tuple(some, fc.constant([])));
const label = fc.constantFrom([], ['open']);
const program: fc.Arbitrary<Part[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 2, 4, 6) }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('secret' as const), each }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('open' as const), label, steps: little, each }) },
  ),
  { minLength: 4, maxLength: 20, size: 'max' },
);

const on = (kind: 'get' | 'put', key: string): Step => ({ kind, collection: 'both', key });
const open = (label: readonly string[], ...steps: readonly Step[]): Part => ({ kind: 'open', label, steps, each: [] });
/**
 * Something of a secret is stored in one run alone, and then written over by a call that carries none, with something that ends
 * before: how long it is remembered that something was there says that it was. Rare among random ones.
 */
const WRITTEN_OVER: Part[] = [
  open(['open'], on('put', 'l')),
  { kind: 'wait', milliseconds: 6 },
  { kind: 'secret', each: [[on('put', 'k')], []] },
  open(['open'], on('get', 'l'), on('put', 'k')),
  { kind: 'wait', milliseconds: 6 },
  open([], on('get', 'k')),
];

/** One of the two runs. */
class World {
  #collections: Map<string, VolatileCollection>;
  #time = 0;
  #call: CallContext;

  constructor() {
    this.#collections = this.#start();
    this.#call = this.begin([]);
  }

  wait(milliseconds: number): void {
    this.#time += milliseconds;
  }

  restart(): void {
    this.#collections = this.#start(this.#collections);
  }

  begin(label: readonly string[]): CallContext {
    this.#call = new CallContext(POLICY, METHOD, this.#collections);
    this.#call.accept(new Set(label), []);
    return this.#call;
  }

  /** What a handler is told, and what its call carries then. */
  step(step: Step, value: string): { said: Json; label: readonly string[]; end: string | undefined } {
    const asked = { call: 0, operation: 0, ...step };
    let said: Json;
    try {
      const json = given(value);
      const found = this.#call.perform(asked.kind === 'put' ? { ...asked, kind: 'put', json } : (asked as never));
      said = JSON.parse(found) as Json;
    } catch (error) {
      assert(error instanceof RefusalError, String(error));
      said = `refused: ${error.code}`;
    }
    return { said, label: this.#call.label, end: this.#call.silenced()?.refusal.message };
  }

  get isClosed(): boolean {
    return this.#call.label.includes('secret');
  }

  #start(kept?: ReadonlyMap<string, VolatileCollection>): Map<string, VolatileCollection> {
    return new Map(
      Object.entries(RETENTION).map(([name, retention]) => {
        const places = kept?.get(name)?.snapshot() ?? [];
        return [name, new VolatileCollection(name, retention, { now: () => this.#time, places })];
      }),
    );
  }
}

test(`${PROGRAMS} programs show nothing of what calls do that carry a secret`, () => {
  const seen = { values: 0, nothing: 0, lists: 0, closed: 0, 'closed in one': 0 };
  const run = (program: readonly Part[]): void => {
    const worlds = [new World(), new World()] as const;
    const goOn = (each: readonly (readonly Step[])[]): void => {
      for (const [i, world] of worlds.entries()) {
        if (world.isClosed) for (const [at, step] of (each[i] ?? []).entries()) world.step(step, `secret ${i} ${at}`);
      }
    };
    for (const [at, part] of program.entries()) {
      switch (part.kind) {
        case 'wait':
          for (const world of worlds) world.wait(part.milliseconds);
          break;
        case 'restart':
          for (const world of worlds) world.restart();
          break;
        case 'secret':
          for (const world of worlds) world.begin(['secret']);
          goOn(part.each);
          break;
        case 'open': {
          for (const world of worlds) world.begin(part.label);
          for (const [i, step] of part.steps.entries()) {
            const [one, other] = worlds.map((world) => world.step(step, `${at} ${i}`));
            const closed = worlds.filter((world) => world.isClosed).length;
            if (closed > 0) {
              seen[closed === 1 ? 'closed in one' : 'closed']++;
              break;
            }
            assert.deepEqual(one, other, `part ${at}, step ${i}: ${JSON.stringify(step)}`);
            if (step.kind === 'list') seen.lists++;
            if (step.kind === 'get') seen[one?.said === null ? 'nothing' : 'values']++;
          }
          goOn(part.each);
        }
      }
    }
  };
  fc.assert(fc.property(program, run), { numRuns: PROGRAMS, examples: [[WRITTEN_OVER]] });
  for (const [kind, times] of Object.entries(seen)) assert.ok(times > PROGRAMS / 20, `${kind}: ${times}`);
  console.log(`places: ${JSON.stringify(seen)}, alike in both runs`);
});
