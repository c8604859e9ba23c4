/**
 * Over random policies: one digest however written; a change is weaker where powers grew, and is
 * never accepted.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape, setExtension, toBinary } from '@bufbuild/protobuf';
import {
  type FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptionsSchema,
} from '@bufbuild/protobuf/wkt';
import { stringify } from 'yaml';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { data, HandlingSchema, handling } from '../src/gen/enclaim/handling_pb.js';
import {
  accept,
  canonicalPolicy,
  type Descriptors,
  type Direction,
  decodePolicy,
  diff,
  match,
  type Policy,
  parseDemand,
  parsePolicy,
  policyDigest,
  readDescriptors,
} from '../src/index.ts';
import { powersOf } from './powers.ts';
import { type Document, smallPolicy } from './small-policy.ts';

const RUNS = { numRuns: count(300, 1000, 50) };

/** Numbers from 0 to 1, as likely the one as the other, which a stream of doubles would not be. */
const fractions = fc.noBias(fc.integer({ min: 1, max: 2_147_483_646 })).map((seed) => {
  let state = seed;
  return (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
});

const read = (document: Document): Policy => parsePolicy(JSON.stringify(document));

/** The same document with the members of its objects and lists in another order. */
function shuffle(value: unknown, random: () => number): unknown {
  const mixed = <T>(items: readonly T[]): T[] =>
    items
      .map((item) => ({ item, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  if (Array.isArray(value)) return mixed(value.map((item) => shuffle(item, random)));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(mixed(Object.entries(value)).map(([key, child]) => [key, shuffle(child, random)]));
}

test('the digest is the same in any order, in YAML and JSON, with comments, and with defaults written out', () => {
  fc.assert(
    fc.property(smallPolicy, fractions, fc.boolean(), (document, random, flow) => {
      const policy = read(document);
      const digest = policyDigest(policy);
      const other = shuffle(document, random);
      const text = stringify(other, {
        ...(flow ? { collectionStyle: 'flow' } : {}),
        aliasDuplicateObjects: false,
        // Quoted, for days and words such as `on` are read otherwise where they are not.
        defaultStringType: 'QUOTE_DOUBLE',
      });
      const commented = flow ? `# first\n${text}# last\n` : text.replaceAll(/$/gm, ' # why');
      assert.equal(policyDigest(read(other as Document)), digest);
      assert.equal(policyDigest(parsePolicy(text)), digest);
      assert.equal(policyDigest(parsePolicy(commented)), digest);
      assert.equal(policyDigest(parsePolicy(canonicalPolicy(policy))), digest);
      assert.deepEqual(decodePolicy(canonicalPolicy(policy)), policy);
    }),
    RUNS,
  );
});

const opposite: Readonly<Record<Direction, Direction>> = {
  stronger: 'weaker',
  weaker: 'stronger',
  equal: 'equal',
  incomparable: 'incomparable',
};

test('a policy does not differ from itself', () => {
  fc.assert(
    fc.property(smallPolicy, (document) => {
      assert.deepEqual(diff(read(document), read(document)), { verdict: 'equal', changes: [] });
    }),
    RUNS,
  );
});

test('the other way round, every change is the opposite one', () => {
  fc.assert(
    fc.property(smallPolicy, smallPolicy, (one, other) => {
      const [a, b] = [read(one), read(other)];
      const count = (from: Policy, to: Policy, turn: (direction: Direction) => Direction): string[] =>
        diff(from, to)
          .changes.map(({ aspect, verdict }) => `${aspect} ${turn(verdict)}`)
          .sort();
      assert.deepEqual(
        count(a, b, (direction) => direction),
        count(b, a, (direction) => opposite[direction]),
      );
    }),
    RUNS,
  );
});

test('weaker means that something became possible that was not, and stronger that something no longer is', () => {
  const seen = { weaker: 0, stronger: 0, neither: 0 };
  fc.assert(
    fc.property(smallPolicy, smallPolicy, fractions, (one, two, random) => {
      const other = coherent(mixed(one, two, random) as Document) ?? one;
      const [a, b] = [read(one), read(other)];
      const [before, after] = [powersOf(a), powersOf(b)];
      const { changes, verdict } = diff(a, b);
      const gained = [...after].filter((power) => !before.has(power));
      const lost = [...before].filter((power) => !after.has(power));
      const has = (direction: Direction): boolean => changes.some((change) => change.verdict === direction);
      assert.equal(has('weaker'), gained.length > 0, `gained ${gained}`);
      assert.equal(has('stronger'), lost.length > 0, `lost ${lost}`);
      assert.equal(verdict === 'weaker', gained.length > 0);
      seen[gained.length > 0 ? 'weaker' : lost.length > 0 ? 'stronger' : 'neither']++;
    }),
    { numRuns: count(1000, 3000, 150) },
  );
  assert.ok(
    Object.values(seen).every((times) => times > count(10, 30, 0)),
    JSON.stringify(seen),
  );
});

/** One document with a few parts of the other: most pairs then differ in little, where a mistake would show. */
function mixed(one: unknown, other: unknown, random: () => number): unknown {
  const isPlain = (value: unknown): value is Document =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isPlain(one) || !isPlain(other)) return random() < 0.04 ? other : one;
  return Object.fromEntries(
    Object.entries(one).map(([key, value]) => [key, key in other ? mixed(value, other[key], random) : value]),
  );
}

/** The document, if its references still hold. */
function coherent(document: Document): Document | undefined {
  try {
    read(document);
    return document;
  } catch {
    return undefined;
  }
}

test('nothing is accepted after it got weaker in what was demanded', () => {
  let refused = 0;
  fc.assert(
    fc.property(smallPolicy, smallPolicy, (one, other) => {
      const [a, b] = [read(one), read(other)];
      const { changes } = diff(a, b);
      for (const { aspect, pointer, verdict } of changes) {
        if (verdict !== 'weaker') continue;
        for (const demand of demandsOn(a, b, aspect, pointer)) {
          const [before] = accept(a, [parseDemand(demand)]);
          const [after] = accept(b, [parseDemand(demand)]);
          assert.equal(before?.ok, true, `${demand}: ${before?.found}`);
          assert.equal(after?.ok, false, `${demand}: ${after?.found}`);
          refused++;
        }
      }
      const weaker = changes.some(({ verdict }) => verdict === 'weaker' || verdict === 'incomparable');
      const [pinned] = accept(b, [parseDemand(`neverWeakerThan ${policyDigest(a)}`)], { known: [a] });
      assert.equal(pinned?.ok, !weaker);
      assert.equal(
        accept(b, [parseDemand(`neverWeakerThan ${policyDigest(a)}`)])[0]?.ok,
        policyDigest(a) === policyDigest(b),
      );
    }),
    RUNS,
  );
  assert.ok(refused > count(150, 500, 10));
});

/** The tightest demands on one aspect that a policy meets: any weakening of it has to break them. */
function demandsOn(policy: Policy, next: Policy, aspect: string, pointer: string): string[] {
  const { residency, governance, evidence, collections, services, claims } = policy;
  const [, , service = '', method = ''] = pointer.split('/');
  switch (aspect) {
    case 'residency.regions':
      return residency === 'none' ? [] : [`regions subset [${residency.regions}]`];
    case 'governance.sovereignty.minScore':
      return governance.sovereignty === 'none' ? [] : [`sovereignty >= ${governance.sovereignty.minScore}`];
    case 'evidence.durability':
      return evidence.durability === 'before-response' ? ['durability before-response'] : [];
    case 'claims':
      return claims
        .filter(({ kind }) => !next.claims.some((claim) => claim.kind === kind))
        .map(({ kind }) => `claim ${kind}`);
    case 'services.callers': {
      const callers = services[service]?.[method]?.callers ?? [];
      return callers.includes('anyone') ? [] : [`callers(${service}/${method}) subset [${callers}]`];
    }
    case 'collections.retention': {
      // Of a category that this collection alone held before, and still holds.
      const id = service;
      const { holds = [], retention = 'unlimited' } = collections[id] ?? {};
      const others = Object.entries(collections)
        .filter(([name]) => name !== id)
        .flatMap(([, { holds: held }]) => held);
      const only = others.length === 0 && retention !== 'unlimited' ? holds : [];
      const still = only.filter((category) => next.collections[id]?.holds.includes(category));
      return still.map((category) => `retention(${category}) <= ${retention}`);
    }
    default:
      return [];
  }
}

/** What a method and its request declare. */
interface Declaration {
  readonly fields: readonly (readonly string[])[];
  readonly reads: readonly string[];
  readonly stores: readonly string[];
  readonly sends: readonly string[];
  readonly callers: readonly string[];
}

function descriptorsFor({ fields, reads, stores, sends, callers }: Declaration): Descriptors {
  const field = fields.map((categories, i): MessageInitShape<typeof FieldDescriptorProtoSchema> => {
    const options = create(FieldOptionsSchema);
    setExtension(options, data, [...categories]);
    return { name: `f${i}`, jsonName: `f${i}`, number: i + 1, type: 9, label: 1, options };
  });
  const options = create(MethodOptionsSchema);
  setExtension(
    options,
    handling,
    create(HandlingSchema, {
      purpose: 'p',
      reads: [...reads],
      stores: [...stores],
      sends: [...sends],
      callers: [...callers],
    }),
  );
  const file = create(FileDescriptorProtoSchema, {
    name: 's.proto',
    package: 's',
    syntax: 'proto3',
    messageType: [{ name: 'In', field }, { name: 'Out' }],
    service: [{ name: 'S', method: [{ name: 'M1', inputType: '.s.In', outputType: '.s.Out', options }] }],
  });
  return readDescriptors(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] })));
}

const words = fc.subarray(['a', 'a.b', 'a.c', 'd', 'public']);
const declaration: fc.Arbitrary<Declaration> = fc.record({
  fields: fc.array(fc.subarray(['a', 'a.b', 'a.c', 'd', 'public'], { minLength: 1 }), { maxLength: 3 }),
  reads: fc.subarray(['c1', 'c2']),
  stores: fc.subarray(['c1', 'c2']),
  sends: fc.subarray(['s1', 's2']),
  callers: fc.subarray(['i1', 'anyone']),
});

const union = (a: readonly string[], b: readonly string[]): string[] => [...new Set([...a, ...b])];

test('widening a policy never withholds a method, and widening a declaration never exposes one', () => {
  const seen = { exposed: 0, withheld: 0 };
  fc.assert(
    fc.property(
      words,
      words,
      declaration,
      declaration,
      declaration,
      fc.boolean(),
      (accepts, more, permitted, extra, narrow, honest) => {
        const policyFor = (
          categories: readonly string[],
          { reads, stores, sends, callers }: Declaration,
          vocabulary: readonly string[],
        ): Policy =>
          read({
            enclaim: 1,
            system: { name: 'a', owner: { name: 'A', contact: 'a' }, version: 1 },
            data: Object.fromEntries(vocabulary.map((word) => [word, { description: 'x' }])),
            services: {
              's.S': {
                M1: {
                  purpose: 'p',
                  accepts: categories.filter((word) => vocabulary.some((each) => each === word || word === 'public')),
                  reads,
                  stores,
                  sends,
                  callers,
                },
              },
            },
            collections: Object.fromEntries(['c1', 'c2'].map((id) => [id, { holds: [], retention: 'P1D' }])),
            subprocessors: Object.fromEntries(
              ['s1', 's2'].map((id) => [id, { address: 'https://s.example', identity: { ca: 'system' }, region: 'r' }]),
            ),
            access: { identities: { i1: { category: 'public', mtls: { ca: `sha256:${'1'.repeat(64)}` } } } },
          });
        // Half of the declarations begin within the policy, or hardly any would be exposed.
        const declared: Declaration = honest ? { ...permitted, fields: accepts.map((word) => [word]) } : narrow;
        const wider = (a: Declaration, b: Declaration): Declaration => ({
          fields: [
            ...a.fields.map((categories, i) => union(categories, b.fields[i] ?? [])),
            ...b.fields.slice(a.fields.length),
          ],
          reads: union(a.reads, b.reads),
          stores: union(a.stores, b.stores),
          sends: union(a.sends, b.sends),
          callers: union(a.callers, b.callers),
        });
        const policy = policyFor(accepts, permitted, ['a', 'a.b', 'd']);
        const widePolicy = policyFor(union(accepts, more), wider(permitted, extra), ['a', 'a.b', 'a.c', 'd', 'e']);
        const exposes = (under: Policy, of: Declaration): boolean =>
          match(descriptorsFor(of), under).exposed.length === 1;
        const exposed = exposes(policy, declared);
        if (exposed) assert.ok(exposes(widePolicy, declared), 'a wider policy withheld it');
        else assert.ok(!exposes(policy, wider(declared, extra)), 'a wider declaration exposed it');
        seen[exposed ? 'exposed' : 'withheld']++;
      },
    ),
    RUNS,
  );
  assert.ok(Math.min(seen.exposed, seen.withheld) > count(30, 100, 0), JSON.stringify(seen));
});
