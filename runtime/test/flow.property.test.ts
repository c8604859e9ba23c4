/**
 * Random programs of a small handler language, while a clock moves and machines start again: the runtime allows an operation, and
 * answers it, iff and as a reference interpreter does.
 */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { type ExposedMethod, type Policy, readDescriptors } from '@enclaim/policy-schema/admission';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { Shelf } from '../../test/support/shelf.ts';
import { given } from '../../test/support/worker-text.ts';
import type { Admission } from '../src/admission/admission.ts';
import type { Release } from '../src/admission/release-plan.ts';
import { AnswerGate } from '../src/egress/answer-gate.ts';
import { CallEgress } from '../src/egress/call-egress.ts';
import { RefusalError } from '../src/errors.ts';
import { CallContext } from '../src/flow/call-flow.ts';
import { MessageForm } from '../src/message/message-form.ts';
import { Messages } from '../src/message/transcoder/messages.ts';
import type { StoredPlace } from '../src/storage/place.ts';

const PROGRAMS = count(5000, 20_000, 500);
const METHOD = 'a.B/C';
const NAMES = ['one', 'two'] as const;
const KEYS = ['k', 'kk', 'l'] as const;
const CATEGORIES = ['public', 'a', 'a.b', 'a.b.c', 'a.d', 'ab', 'e', 'e.f'] as const;
/** Noon of a day on which one of two assurances has ended. */
const NOW = Date.UTC(2026, 5, 15, 12);
const DAYS = { ended: '2026-06-14', 'in force': '2026-06-15' } as const;

/** A message that carries whatever it is to carry: a field for each category. */
const { registry, bytes: descriptorBytes } = readDescriptors(
  await compiled(`syntax = "proto3"; package t; import "enclaim/handling.proto"; import "google/protobuf/empty.proto";
    message R { option (enclaim.holds) = "public"; string field = 1; int32 value = 2; string tag = 3; }
    message M { ${CATEGORIES.map((name, i) => `string f${i} = ${i + 1} [(enclaim.data) = "${name}"];`).join(' ')} }
    service S { rpc Ask(M) returns (M); rpc Tell(M) returns (google.protobuf.Empty); }`),
);
const service = registry.getService('t.S') ?? assert.fail();
const message = registry.getMessage('t.M') ?? assert.fail();
/** What records are: each has a value, and a tag that they are listed by. */
const record = registry.getMessage('t.R') ?? assert.fail();
const TAGS = ['red', 'blue'] as const;
type Tag = (typeof TAGS)[number];

async function compiled(text: string): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-flow-'));
  writeFileSync(join(folder, 't.proto'), text);
  return compileProtos(folder).finally(() => rmSync(folder, { recursive: true }));
}

/** The message that carries a label. */
function carrying(label: readonly string[]): Record<string, string> {
  return Object.fromEntries(label.map((name) => [`f${CATEGORIES.indexOf(name as 'a')}`, 'x']));
}

const category = fc.constantFrom(...CATEGORIES);
const label = fc.uniqueArray(category, { maxLength: 3 });
/** Half the time everything, so that what is refused is so for one reason and not for all at once. */
const wide = fc.oneof(fc.constant([...CATEGORIES]), fc.uniqueArray(category, { maxLength: 6 }));
const names = fc.oneof(fc.constant([...NAMES]), fc.uniqueArray(fc.constantFrom(...NAMES)));
const name = fc.constantFrom(...NAMES);
const place = { collection: name, key: fc.constantFrom(...KEYS) };
const rule = fc.constantFrom('named', 'named', 'named', 'recorded', 'recorded', 'recorded', 'foreign');

type Name = (typeof NAMES)[number];
type Step =
  | { readonly kind: 'accept' | 'respond'; readonly label: readonly string[] }
  | { readonly kind: 'get' | 'read'; readonly collection: string; readonly key: string }
  | {
      readonly kind: 'put' | 'delete';
      readonly collection: string;
      readonly key: string;
      readonly condition?: Condition;
      /** What a record that is stored is found by. */
      readonly tag: Tag;
    }
  | ({ readonly kind: 'list'; readonly collection: string } & Page)
  /** Sends a message that carries a label; where an answer is asked for, it carries another. */
  | {
      readonly kind: 'send';
      readonly to: Name;
      readonly label: readonly string[];
      readonly answer: readonly string[] | null;
    }
  | { readonly kind: 'release'; readonly rule: string; readonly key: string }
  /** The handler is done, well or not, and the next call begins. */
  | { readonly kind: 'end'; readonly how: 'ok' | 'worker' }
  | { readonly kind: 'wait'; readonly milliseconds: number }
  /** What is kept over a restart is what a store that keeps it has written down. */
  | { readonly kind: 'restart'; readonly keeps: boolean };

/** That a value has the version that was last read, or that there is none. */
type Condition = 'last' | 'nothing' | undefined;
interface Page {
  readonly prefix?: string;
  readonly after?: string;
  readonly limit?: number;
  /** The tag that records must have. */
  readonly tag?: Tag;
}

/** What a step came to: whether it was done, whether its handler was told so, and what it was told. */
interface Outcome {
  readonly done: boolean;
  readonly answered: boolean;
  readonly said?: unknown;
}

const condition = fc.constantFrom<Condition[]>(undefined, undefined, undefined, undefined, 'last', 'nothing');

function listing(collection: fc.Arbitrary<string>): fc.Arbitrary<Step> {
  const page = {
    prefix: fc.constantFrom('', 'k', 'x'),
    after: fc.constantFrom('', 'k', 'kk'),
    limit: fc.constantFrom(1, 2),
    tag: fc.constantFrom(...TAGS),
  };
  return fc.record(
    { kind: fc.constant('list' as const), collection, ...page },
    { requiredKeys: ['kind', 'collection'] },
  );
}

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('accept' as const, 'respond' as const), label }),
  fc.record({ kind: fc.constantFrom('get' as const, 'read' as const), ...place }),
  fc.record({
    kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const),
    ...place,
    condition,
    tag: fc.constantFrom(...TAGS),
  }),
  listing(place.collection),
  fc.record({ kind: fc.constant('send' as const), to: name, label, answer: fc.option(label) }),
  fc.record({ kind: fc.constant('release' as const), rule, key: place.key }),
  fc.record({ kind: fc.constant('end' as const), how: fc.constantFrom('ok' as const, 'worker' as const) }),
  fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 4, 5, 6, 10) }),
);

/** A program is short: a machine that starts again in most of them would leave little else to see. */
const steps = fc
  .tuple(
    fc.array(step, { minLength: 1, maxLength: 16 }),
    fc.option(fc.tuple(fc.nat(16), fc.constantFrom(true, true, false)), { freq: 2 }),
  )
  .map(([steps, restart]): Step[] =>
    restart === null ? steps : steps.toSpliced(restart[0], 0, { kind: 'restart', keeps: restart[1] }),
  );

const receiver = fc.record({ receives: wide, assured: fc.constantFrom('none', 'in force', 'in force', 'ended') });
const score = fc.oneof(
  fc.constant('none' as const),
  fc.record({ minScore: fc.integer({ min: 0, max: 60 }), maxExternalCalls: fc.integer({ min: 0, max: 3 }) }),
);
const limits = fc.record({
  accepts: wide,
  reads: names,
  stores: names,
  sends: names,
  returns: label,
  one: wide,
  two: wide,
  /** Milliseconds, of which a program may see several pass. */
  retention: fc.record({ one: fc.constantFrom(5, 10, 20, null), two: fc.constantFrom(5, 10, 20, null) }),
  /** Subprocessors have the names of collections: a name that is looked up in the wrong place is found there. */
  outside: fc.record({ one: receiver, two: receiver }),
  /** Where the two rules of this method send: a field of the request, and one of a record. */
  named: fc.record({ to: name, takes: category }),
  recorded: fc.record({ to: name, of: name }),
  /** Categories of the tag, as far as the collections may hold them. */
  tagged: label,
  score,
});
type Limits = typeof limits extends fc.Arbitrary<infer T> ? T : never;

/** Most programs begin with a message, as calls do. */
const flows = fc.tuple(
  limits,
  fc
    .tuple(fc.option(fc.record({ kind: fc.constant('accept' as const), label: wide })), steps)
    .map(([first, rest]): Step[] => (first === null ? rest : [first, ...rest])),
);

/** Calls that may do everything with a place or two, again and again while time goes by. */
const single = { collection: fc.constant('one'), key: fc.constantFrom('k', 'k', 'kk', 'l') };
const placeStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('get' as const, 'read' as const), ...single }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('put' as const), ...single, condition, tag: fc.constantFrom(...TAGS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('delete' as const), ...single, condition, tag: fc.constant(TAGS[0]) }),
  },
  { weight: 2, arbitrary: listing(single.collection) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('accept' as const), label }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      how: fc.constantFrom('ok' as const, 'ok' as const, 'worker' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 2, 4, 6) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('restart' as const), keeps: fc.constantFrom(true, true, true, false) }),
  },
);
const places = fc.tuple(
  fc.tuple(limits, fc.constantFrom(10, 20)).map(([some, one]): Limits => {
    const everything = [...CATEGORIES];
    const may = { accepts: everything, reads: [...NAMES], stores: [...NAMES], one: everything };
    return { ...some, ...may, retention: { one, two: null } };
  }),
  fc.array(placeStep, { minLength: 6, maxLength: 32, size: 'max' }),
);

/** What the documents say of a place: what is there until when, and what is said of it until when. */
interface Kept {
  /** Which of all values it is; undefined: none any more. */
  readonly value: number | undefined;
  /** The time from which its retention counts. */
  readonly age: number;
  readonly valueUntil: number;
  readonly says: readonly string[];
  readonly saysUntil: number;
}

/** What a call wants at a place: a value with the age of what it was made of, or nothing. */
interface Planned {
  readonly put: { readonly value: number; readonly oldest: number } | undefined;
  readonly isGone: boolean;
  /** What has to be there still at the end: a value, or none (null), if the call has said so. */
  readonly needs: number | null | undefined;
}

/** The rules as design and documents say them, written without a look at how the runtime holds them. */
class Reference {
  readonly #limits: Limits;
  #kept = new Map<string, Kept>();
  #time = 0;
  #values = 0;
  /** The tag of each value. */
  readonly #tags: Tag[] = [];
  #sent: readonly string[] = [];
  #read: readonly string[] = [];
  /** The age of the oldest value that was read. */
  #oldest: number | undefined;
  /** The first message of the call that was accepted. */
  #request: readonly string[] | undefined;
  #released: readonly string[] = [];
  #work: readonly string[] = [];
  #outside = 0;
  /** Whether somebody outside the call may have seen something of it. */
  #visible = false;
  /** What it is to change once it has ended well. */
  #planned = new Map<string, Planned>();
  /** The value that was last read with its version. */
  #last: number | undefined;
  /** Whether the handler is told that the last step was done, where that is not the same as its being done. */
  #answered: boolean | undefined;
  /** What it is told besides. */
  #said: unknown;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** What the step comes to; if it is allowed, it is done. */
  step(step: Step): Outcome {
    this.#answered = this.#said = undefined;
    const done = this.#step(step);
    return { done, answered: this.#answered ?? done, said: this.#said };
  }

  #step(step: Step): boolean {
    const { accepts, reads, stores, returns, outside } = this.#limits;
    if (['respond', 'send', 'release'].includes(step.kind)) this.#visible = true;
    switch (step.kind) {
      case 'wait':
        this.#time += step.milliseconds;
        return true;
      case 'restart':
        // Memory is gone whole and at once, whatever was in it. What is kept is kept with all that it says.
        if (!step.keeps) this.#kept = new Map();
        this.#nextCall();
        return true;
      case 'end':
        // After a read that may not be returned every end is the same.
        this.#said = within(this.#read, returns) ? step.how : 'flow';
        // What was there may be over since.
        if (this.#said === 'ok' && this.#isLate()) this.#said = 'conflict';
        this.#end(this.#said === 'ok');
        return this.#said !== 'conflict';
      case 'accept':
        if (![...this.#changed].every((name) => within(accepts, this.#limits[name]))) return false;
        if (this.#changed.size > 0 && !within(step.label, accepts)) return false;
        this.#sent = [...this.#sent, ...step.label];
        if (!within(step.label, accepts)) return false;
        this.#request ??= step.label;
        this.#work = [...this.#work, `message ${this.#work.length}`];
        return true;
      case 'respond':
        return within([...step.label, ...this.#read], returns);
      case 'get':
      case 'read': {
        if (!reads.includes(step.collection as Name) || this.#tooLate(step.collection)) return false;
        const place = `${step.collection} ${step.key}`;
        const planned = this.#planned.get(place);
        const value = this.#seen(place);
        this.#said = value ?? null;
        if (step.kind === 'read' && value !== undefined) this.#last = value;
        if (value !== undefined) this.#did(place);
        if (value !== undefined && planned === undefined) {
          const { age } = this.#kept.get(place) ?? assert.fail();
          this.#oldest = this.#oldest === undefined ? age : Math.min(this.#oldest, age);
        }
        this.#read = [...this.#read, ...this.#allOf(step.collection)];
        if (planned === undefined) this.#read = [...this.#read, ...this.#saidBy(place)];
        return true;
      }
      case 'list':
        if (!reads.includes(step.collection as Name) || this.#tooLate(step.collection)) return false;
        this.#said = this.#list(step.collection, step);
        this.#read = [...this.#read, ...this.#allOf(step.collection)];
        return true;
      case 'put':
      case 'delete': {
        const place = `${step.collection} ${step.key}`;
        // A condition is a read of the place.
        if (step.condition !== undefined) {
          if (!reads.includes(step.collection as Name) || this.#tooLate(step.collection)) return false;
          this.#read = [...this.#read, ...this.#allOf(step.collection)];
          if (!this.#planned.has(place)) this.#read = [...this.#read, ...this.#saidBy(place)];
        }
        this.#visible = true;
        if (!stores.includes(step.collection as Name)) return false;
        if (!within(this.#carried, this.#limits[step.collection as Name])) return false;
        // A call that has read what it may not return stores nothing any more.
        if (!within(this.#read, returns)) return false;
        const there = this.#seen(place);
        const oldest = this.#oldest ?? Number.POSITIVE_INFINITY;
        this.#tags[this.#values] = step.tag;
        const put = step.kind === 'put' ? { value: this.#values, oldest } : this.#planned.get(place)?.put;
        const before = this.#planned.get(place);
        const needs = before === undefined && step.condition !== undefined ? (there ?? null) : before?.needs;
        this.#planned.set(place, { put, isGone: step.kind === 'delete', needs });
        const isWanted =
          step.condition === 'nothing' ? there === undefined : there === this.#last && there !== undefined;
        if (step.condition !== undefined && !isWanted) {
          // Whoever comes too late is over.
          this.#said = 'conflict';
          this.#end(false);
          return false;
        }
        if (step.kind === 'put') {
          this.#values++;
          this.#did(place);
        }
        return true;
      }
      case 'send': {
        if (!this.#mayReach(step.to)) return false;
        if (!within([...this.#carried, ...step.label], outside[step.to].receives)) return false;
        // What its answer could carry, were all its fields there.
        if (step.answer !== null && this.#changed.size > 0) {
          const all = [...CATEGORIES, ...outside[step.to].receives];
          if (![returns, ...[...this.#changed].map((name) => this.#limits[name])].every((may) => within(all, may)))
            return false;
        }
        if (!this.#mayDepend()) return false;
        // What comes back may be all that was ever sent there.
        if (step.answer !== null) this.#read = [...this.#read, ...outside[step.to].receives, ...step.answer];
        return true;
      }
      case 'release':
        return this.#release(step.rule, step.key);
    }
  }

  #nextCall(): void {
    this.#sent = this.#read = this.#released = this.#work = [];
    this.#oldest = this.#request = undefined;
    this.#outside = 0;
    this.#visible = false;
    this.#planned = new Map();
  }

  /** The collections that the call is to change. */
  get #changed(): Set<Name> {
    return new Set([...this.#planned.keys()].map((place) => place.split(' ')[0] as Name));
  }

  /**
   * Ends the call. Of one that ends well there is what it wanted. In any case whoever looks learns as much as it carried in the
   * end, and for as long.
   */
  #end(well: boolean): void {
    for (const [place, { put, isGone }] of this.#planned) {
      const held = this.#kept.get(place);
      const isThere = held !== undefined && this.#time < held.saysUntil;
      const says = [...this.#saidBy(place), ...this.#carried];
      const gone = well && isGone ? { value: undefined } : {};
      if (put === undefined) {
        if (held !== undefined && this.#valueIn(place) !== undefined) this.#kept.set(place, { ...held, says, ...gone });
        continue;
      }
      const age = Math.min(put.oldest, this.#time);
      const retention = this.#limits.retention[place.split(' ')[0] as Name] ?? Number.POSITIVE_INFINITY;
      const valueUntil = age + retention;
      const saysUntil = isThere ? Math.max(held.saysUntil, valueUntil) : valueUntil;
      if (well && !isGone) this.#kept.set(place, { value: put.value, age, valueUntil, says, saysUntil });
      else if (isThere) this.#kept.set(place, { ...held, says, saysUntil, ...gone });
      else this.#kept.set(place, { value: undefined, age, valueUntil, says, saysUntil });
    }
    this.#nextCall();
  }

  #isLate(): boolean {
    return [...this.#planned].some(
      ([place, { needs }]) => needs !== undefined && needs !== (this.#valueIn(place) ?? null),
    );
  }

  /** What the call sees at a place: what it wants there itself, or what is there. */
  #seen(place: string): number | undefined {
    const planned = this.#planned.get(place);
    if (planned === undefined) return this.#valueIn(place);
    return planned.isGone ? undefined : planned.put?.value;
  }

  /** A page of keys. The call learns of every place up to the last that it needed to look at. */
  #list(collection: string, { prefix = '', after = '', limit = Number.POSITIVE_INFINITY, tag }: Page): string[] {
    const own = [...this.#planned.keys()].filter((place) => place.startsWith(`${collection} `));
    const isIn = (key: string): boolean => key.startsWith(prefix) && key > after;
    const isNamed = (value: number | undefined): boolean =>
      value !== undefined && (tag === undefined || this.#tags[value] === tag);
    let left = limit + own.length;
    for (const key of KEYS.filter(isIn)) {
      if (left === 0) break;
      const place = `${collection} ${key}`;
      this.#read = [...this.#read, ...this.#saidBy(place)];
      if (isNamed(this.#valueIn(place))) left--;
    }
    // What is found by the tag tells what it is, in whichever records.
    if (tag !== undefined) this.#read = [...this.#read, ...taggedIn(this.#limits, collection as Name)];
    return KEYS.filter((key) => isIn(key) && isNamed(this.#seen(`${collection} ${key}`))).slice(0, limit);
  }

  /** Whether reading there could end in a refusal that changes would be dropped for, or carry what their places may not. */
  #tooLate(collection: string): boolean {
    const holds = this.#limits[collection as Name];
    const mays = [this.#limits.returns, ...[...this.#changed].map((name) => this.#limits[name])];
    return this.#changed.size > 0 && !mays.every((may) => within(holds, may));
  }

  #valueIn(place: string): number | undefined {
    const kept = this.#kept.get(place);
    return kept !== undefined && this.#time < kept.valueUntil ? kept.value : undefined;
  }

  /** What it says to look at a place, whether or not something is there. */
  #saidBy(place: string): readonly string[] {
    const kept = this.#kept.get(place);
    return kept !== undefined && this.#time < kept.saysUntil ? kept.says : [];
  }

  /** What reading carries besides what it finds: once somebody could tell when it was read, all that could be there. */
  #allOf(collection: string): readonly string[] {
    return this.#visible ? this.#limits[collection as Name] : [];
  }

  #release(rule: string, key: string): boolean {
    const { reads, outside, named, recorded } = this.#limits;
    if (rule !== 'named' && rule !== 'recorded') return false; // another method's
    const { to } = this.#limits[rule];
    if (!this.#mayReach(to) || this.#released.includes(rule)) return false;
    this.#released = [...this.#released, rule]; // once, however it goes on
    if (rule === 'named') return this.#request?.includes(named.takes) === true && this.#mayDepend();
    // What the handler may not see decides whether something is sent, and nothing else: not even what the call has left.
    const { receives } = outside[to];
    if (!reads.includes(recorded.of) || !within(this.#carried, receives) || !this.#mayDepend()) return false;
    const place = `${recorded.of} ${key}`;
    this.#answered = true;
    const says = this.#planned.has(place) ? this.#carried : [];
    return this.#seen(place) !== undefined && within([...this.#saidBy(place), ...says], receives);
  }

  /** Whether somebody may be sent anything at all. */
  #mayReach(to: Name): boolean {
    return this.#limits.sends.includes(to) && this.#limits.outside[to].assured !== 'ended';
  }

  /** Whether the call may depend on others once more; if so, it does. */
  #mayDepend(): boolean {
    const { score } = this.#limits;
    const outside = this.#outside + 1;
    const local = this.#work.length;
    if (
      score !== 'none' &&
      (outside > score.maxExternalCalls || (100 * local) / (local + 4 * outside) < score.minScore)
    )
      return false;
    this.#outside = outside;
    return true;
  }

  #did(work: string): void {
    if (!this.#work.includes(work)) this.#work = [...this.#work, work];
  }

  get #carried(): readonly string[] {
    return [...this.#sent, ...this.#read];
  }

  get label(): string[] {
    return [...new Set(this.#carried)].sort();
  }
}

function within(carried: readonly string[], clearance: readonly string[]): boolean {
  return carried.every(
    (word) => word === 'public' || clearance.some((held) => word === held || word.startsWith(`${held}.`)),
  );
}

/** Categories of the tag of a collection's records: a policy whose collection does not hold them is refused. */
function taggedIn({ tagged, ...limits }: Limits, collection: Name): readonly string[] {
  return tagged.filter((category) => within([category], limits[collection]));
}

interface OpenCall {
  readonly context: CallContext;
  readonly egress: CallEgress;
}

/** What limits grant a method: in the policy, and in the plan of its releases. */
function grantedBy(limits: Limits): Pick<Admission, 'policy' | 'releases'> & { readonly method: ExposedMethod } {
  const { accepts, reads, stores, sends, returns, one, two, outside, named, recorded, score } = limits;
  const rule = { purpose: 'p', callers: ['anyone'], accepts, reads, stores, sends, returns, interface: 'any' };
  const subprocessor = ({ receives, assured }: Limits['outside']['one']) => ({
    identity: { ca: 'system' },
    receives,
    assurance: assured === 'none' ? 'none' : { validUntil: DAYS[assured as keyof typeof DAYS] },
  });
  const field = `f${CATEGORIES.indexOf(named.takes)}`;
  const declassify = [
    { id: 'named', method: METHOD, to: named.to, build: { field: `$request.${field}` } },
    { id: 'recorded', method: METHOD, to: recorded.to, build: { field: `$record.${recorded.of}.field` } },
    { id: 'foreign', method: 'a.B/D', to: 'one', build: { field: 'x' } },
  ];
  const policy = {
    services: { 'a.B': { C: rule, D: rule } },
    collections: { one: { holds: one }, two: { holds: two } },
    subprocessors: { one: subprocessor(outside.one), two: subprocessor(outside.two) },
    declassify,
    access: { cedar: '', identities: {} },
    governance: { leaks: 'none', sovereignty: score },
  } as unknown as Policy;
  const releases = declassify.map((each): [string, Release] => [
    each.id,
    {
      rule: { ...each, call: 'POST /', owner: '', justification: '' } as Release['rule'],
      call: { verb: 'POST', path: '/' },
      collections: each.id === 'recorded' ? [recorded.of] : [],
    },
  ]);
  const method = { id: METHOD, rule } as unknown as ExposedMethod;
  return { policy, method, releases: new Map(releases) };
}

/** The methods of both subprocessors. */
const OUTBOUND = NAMES.flatMap((subprocessor) =>
  service.methods.map((descriptor) => ({
    subprocessor,
    name: descriptor.name,
    id: `t.S/${descriptor.name}` as const,
    descriptor,
    http: 'none' as const,
  })),
);

/** What an operation answers of a place: with `read`, the value beside its version. */
type Found = { readonly value: number } | { readonly value: { readonly value: number }; readonly version: string };

/** The runtime's own, over the parts of a policy that flows depend on. */
class Real {
  readonly #open: () => OpenCall;
  readonly #collections = new Map<Name, Shelf>();
  readonly #limits: Limits;
  readonly #retention: Limits['retention'];
  #time = 0;
  #values = 0;
  #call: OpenCall;
  #answer = new Uint8Array();
  /** Messages that left. */
  #left = 0;
  /** By version the value that it came with. */
  readonly #versions = new Map<string, number>();
  #last = 'none';

  constructor(limits: Limits) {
    const { policy, method, releases } = grantedBy(limits);
    const descriptors = { registry, bytes: descriptorBytes };
    const messages = new Messages({ exposed: [], outbound: OUTBOUND, descriptors });
    const admission = { policy, descriptors, outbound: OUTBOUND, messages, releases } as unknown as Admission;
    this.#limits = limits;
    this.#retention = limits.retention;
    this.#start(() => []);
    const broker = {
      send: async () => {
        this.#left++;
        return { status: 'ok' as const, body: this.#answer, repeatsSecret: false };
      },
    };
    const { signal } = new AbortController();
    const parts = { admission, method, broker, record: async () => {}, signal };
    this.#open = () => {
      const context = new CallContext(
        policy,
        method,
        this.#collections,
        () => {},
        () => NOW,
      );
      return {
        context,
        egress: new CallEgress({ ...parts, context, gate: new AnswerGate() }),
      };
    };
    this.#call = this.#open();
  }

  async step(step: Step): Promise<Outcome> {
    const before = this.#left;
    const { answered, said } = await this.#do(step).then(
      (said) => ({ answered: true, said }),
      (error: unknown) => {
        assert(error instanceof RefusalError, String(error));
        return { answered: false, said: error.final ? error.code : undefined };
      },
    );
    if (said === 'conflict') this.#end('dropped');
    // Nothing is pending between two steps: it waits for what was sent, and ends nothing.
    await this.#call.egress.end('done');
    return { done: step.kind === 'release' ? this.#left > before : answered, answered, said };
  }

  #start(places: (name: Name) => Iterable<StoredPlace>): void {
    for (const name of NAMES) {
      const retention = this.#retention[name] ?? Number.POSITIVE_INFINITY;
      const field = record.fields.find((each) => each.name === 'tag') ?? assert.fail();
      const indexes = [{ field, categories: taggedIn(this.#limits, name) }];
      const form = new MessageForm(name, { message: record, indexes }, registry);
      const options = { now: () => this.#time, places: places(name), form };
      this.#collections.set(name, new Shelf(name, retention, options));
    }
  }

  async #do(step: Step): Promise<unknown> {
    const asked = { call: 0, operation: 0 };
    const { context, egress } = this.#call;
    switch (step.kind) {
      case 'wait':
        this.#time += step.milliseconds;
        return;
      case 'restart': {
        const written = JSON.stringify(NAMES.map((name) => [name, this.#collections.get(name)?.snapshot()]));
        const kept = new Map(JSON.parse(written) as [Name, StoredPlace[]][]);
        this.#start((name) => (step.keeps ? (kept.get(name) ?? assert.fail()) : []));
        this.#call = this.#open();
        return;
      }
      case 'end': {
        const how = context.silenced()?.refusal.code ?? step.how;
        if (how === 'ok') context.check();
        this.#end(how === 'ok' ? 'kept' : 'dropped');
        return how;
      }
      case 'accept':
        context.mayTake();
        context.accept(new Set(step.label), []);
        egress.took(message, () => fromJson(message, carrying(step.label)));
        return;
      case 'respond':
        context.respond(new Set(step.label), []);
        return;
      case 'send': {
        this.#answer = toBinary(message, fromJson(message, carrying(step.answer ?? []))) as Uint8Array<ArrayBuffer>;
        const method = step.answer === null ? 'Tell' : 'Ask';
        await egress.call({ to: step.to, method, json: given(carrying(step.label)) });
        return;
      }
      case 'release':
        await egress.release({ rule: step.rule, keys: { one: step.key, two: step.key } });
        return;
      case 'list': {
        const { tag, ...page } = step;
        return JSON.parse(context.perform({ ...asked, ...page, ...(tag && { json: given({ tag }) }) }) as string);
      }
      case 'put':
        context.perform({
          ...asked,
          ...this.#changed(step),
          kind: 'put',
          json: given({ field: 'x', value: this.#values, tag: step.tag }),
        });
        this.#values++;
        egress.touched(step.collection, step.key);
        return;
      case 'delete':
        context.perform({ ...asked, ...this.#changed(step), kind: 'delete' });
        return;
      case 'get':
      case 'read': {
        const { collection, key, kind } = step;
        const found = JSON.parse(context.perform({ ...asked, ...step, kind }) as string) as Found | null;
        if (found !== null) egress.touched(collection, key);
        if (found === null || !('version' in found)) return found?.value ?? null;
        const { value } = found.value;
        this.#last = found.version;
        if (!this.#versions.has(found.version)) this.#versions.set(found.version, value);
        assert.equal(this.#versions.get(found.version), value, 'two values have one version');
        return value;
      }
    }
  }

  #changed({ collection, key, condition }: Extract<Step, { readonly kind: 'put' | 'delete' }>) {
    const ifVersion = condition === 'last' ? this.#last : null;
    return condition === undefined ? { collection, key } : { collection, key, ifVersion };
  }

  #end(how: 'kept' | 'dropped'): void {
    this.#call.context.end(how);
    this.#call = this.#open();
  }

  get label(): readonly string[] {
    return this.#call.context.label;
  }
}

test(`${PROGRAMS} programs are allowed what the reference allows, step by step`, async () => {
  const counts = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.oneof(flows, places), async ([limits, program]) => {
      const [reference, real] = [new Reference(limits), new Real(limits)];
      for (const [at, step] of program.entries()) {
        const expected = reference.step(step);
        assert.deepEqual(await real.step(step), expected, `step ${at}: ${JSON.stringify(step)}`);
        assert.deepEqual(real.label, reference.label);
        for (const key of [
          `${step.kind} ${expected.done ? 'allowed' : 'refused'}`,
          ...(step.kind === 'list' && step.tag !== undefined
            ? [`search ${expected.done ? 'allowed' : 'refused'}`]
            : []),
          ...(step.kind === 'end' ? [`end ${step.how} as ${expected.said}`] : []),
          ...(expected.said === 'conflict' ? ['ends by conflict'] : []),
          ...(step.kind === 'restart' ? [`restart ${step.keeps ? 'keeps' : 'loses'}`] : []),
        ])
          counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }),
    { numRuns: PROGRAMS },
  );
  // No answer may be so rare that the property says nothing of it.
  const kinds = ['accept', 'respond', 'get', 'read', 'put', 'delete', 'list', 'search', 'send', 'release'];
  for (const seen of [
    ...kinds.flatMap((kind) => [`${kind} allowed`, `${kind} refused`]),
    ...['ok as ok', 'ok as flow', 'worker as worker', 'worker as flow'].map((end) => `end ${end}`),
    ...['ends by conflict', 'restart keeps', 'restart loses', 'wait allowed'],
  ])
    assert.ok((counts.get(seen) ?? 0) > PROGRAMS / 500, `${seen}: ${JSON.stringify([...counts])}`);
  console.log(`flow: ${JSON.stringify(Object.fromEntries(counts))}, all as the reference says`);
});
