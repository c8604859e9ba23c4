/** Random programs of a small handler language: the runtime allows an operation iff a reference interpreter does. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExposedMethod, Policy } from '@enclaim/policy-schema/admission';
import fc from 'fast-check';
import { CallContext } from '../src/context.ts';
import { RefusalError } from '../src/errors.ts';
import { VolatileCollection } from '../src/store.ts';

const PROGRAMS = 20_000;
const METHOD = 'a.B/C';
const NAMES = ['one', 'two'] as const;
const KEYS = ['k', 'l'] as const;

const category = fc.constantFrom('public', 'a', 'a.b', 'a.b.c', 'a.d', 'ab', 'e', 'e.f');
const label = fc.uniqueArray(category, { maxLength: 3 });
const names = fc.uniqueArray(fc.constantFrom(...NAMES));
const place = { collection: fc.constantFrom(...NAMES), key: fc.constantFrom(...KEYS) };

type Step =
  | { readonly kind: 'accept' | 'respond'; readonly label: readonly string[] }
  | { readonly kind: 'get' | 'put' | 'delete'; readonly collection: string; readonly key: string }
  | { readonly kind: 'list'; readonly collection: string }
  | { readonly kind: 'next-call' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('accept' as const, 'respond' as const), label }),
  fc.record({ kind: fc.constantFrom('get' as const, 'put' as const, 'put' as const, 'delete' as const), ...place }),
  fc.record({ kind: fc.constant('list' as const), collection: place.collection }),
  fc.constant({ kind: 'next-call' as const }),
);

const limits = fc.record({ accepts: label, reads: names, stores: names, returns: label, one: label, two: label });
type Limits = { readonly [K in 'accepts' | 'reads' | 'stores' | 'returns' | 'one' | 'two']: readonly string[] };

/** The rules as design and documents say them, written without a look at how the runtime holds them. */
class Reference {
  readonly #limits: Limits;
  readonly #stored = new Map<string, ReadonlySet<string>>();
  #sent: readonly string[] = [];
  #read: readonly string[] = [];

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Whether the step is allowed; if so, it is done. */
  step(step: Step): boolean {
    const { accepts, reads, stores, returns } = this.#limits;
    switch (step.kind) {
      case 'next-call':
        this.#sent = [];
        this.#read = [];
        return true;
      case 'accept':
        this.#sent = [...this.#sent, ...step.label];
        return within(step.label, accepts);
      case 'respond':
        return within([...step.label, ...this.#read], returns);
      case 'get':
        if (!reads.includes(step.collection)) return false;
        this.#read = [...this.#read, ...(this.#stored.get(`${step.collection} ${step.key}`) ?? [])];
        return true;
      case 'list':
        if (!reads.includes(step.collection)) return false;
        for (const [place, held] of this.#stored) {
          if (place.startsWith(`${step.collection} `)) this.#read = [...this.#read, ...held];
        }
        return true;
      case 'put':
      case 'delete': {
        const carried = [...this.#sent, ...this.#read];
        if (!stores.includes(step.collection)) return false;
        if (!within(carried, this.#limits[step.collection as 'one' | 'two'])) return false;
        const place = `${step.collection} ${step.key}`;
        if (step.kind === 'put') this.#stored.set(place, new Set(carried));
        else this.#stored.delete(place);
        return true;
      }
    }
  }

  get label(): string[] {
    return [...new Set([...this.#sent, ...this.#read])].sort();
  }
}

function within(carried: readonly string[], clearance: readonly string[]): boolean {
  return carried.every(
    (word) => word === 'public' || clearance.some((held) => word === held || word.startsWith(`${held}.`)),
  );
}

/** The runtime's own, over the parts of a policy that flows depend on. */
class Real {
  readonly #open: () => CallContext;
  #context: CallContext;

  constructor({ accepts, reads, stores, returns, one, two }: Limits) {
    const rule = { purpose: 'p', callers: ['anyone'], accepts, reads, stores, sends: [], returns, interface: 'any' };
    const policy = {
      services: { 'a.B': { C: rule } },
      collections: { one: { holds: one }, two: { holds: two } },
      declassify: [],
      access: { cedar: '', identities: {} },
      governance: { leaks: 'none' },
    } as unknown as Policy;
    const method = { id: METHOD, rule } as unknown as ExposedMethod;
    const collections = new Map(NAMES.map((name) => [name, new VolatileCollection(name, Number.POSITIVE_INFINITY)]));
    this.#open = () => new CallContext(policy, method, collections);
    this.#context = this.#open();
  }

  step(step: Step): boolean {
    const asked = { call: 0, operation: 0 };
    try {
      switch (step.kind) {
        case 'next-call':
          this.#context = this.#open();
          return true;
        case 'accept':
          this.#context.accept(new Set(step.label), null);
          return true;
        case 'respond':
          this.#context.respond(new Set(step.label), null);
          return true;
        case 'put':
          this.#context.perform({ ...asked, ...step, kind: 'put', value: null });
          return true;
        case 'list':
          this.#context.perform({ ...asked, ...step });
          return true;
        default:
          this.#context.perform({ ...asked, ...step, kind: step.kind as 'get' | 'delete' });
          return true;
      }
    } catch (error) {
      assert(error instanceof RefusalError, String(error));
      return false;
    }
  }

  get label(): string[] {
    return this.#context.label;
  }
}

test(`${PROGRAMS} programs are allowed what the reference allows, step by step`, () => {
  const counts = { allowed: 0, refused: 0 };
  fc.assert(
    fc.property(limits, fc.array(step, { minLength: 1, maxLength: 16 }), (limits, program) => {
      const [reference, real] = [new Reference(limits), new Real(limits)];
      for (const [at, step] of program.entries()) {
        const expected = reference.step(step);
        assert.equal(real.step(step), expected, `step ${at}: ${JSON.stringify(step)}`);
        assert.deepEqual(real.label, reference.label);
        counts[expected ? 'allowed' : 'refused']++;
      }
    }),
    { numRuns: PROGRAMS },
  );
  // Neither answer may be so rare that the property says nothing.
  assert.ok(Math.min(counts.allowed, counts.refused) > PROGRAMS, JSON.stringify(counts));
  console.log(`flow: ${counts.allowed} steps allowed, ${counts.refused} refused, all as the reference says`);
});
