/** Small policies at random, as plain documents: few names, so that two of them often speak of the same things. */

import { fc } from '../../test/support/properties.ts';
import { key } from './base-policy.ts';

const CATEGORIES = ['a', 'a.b', 'a.c', 'd'] as const;
const COLLECTIONS = ['c1', 'c2'] as const;
const SUBPROCESSORS = ['s1', 's2'] as const;
const IDENTITIES = ['i1', 'i2'] as const;
const METHODS = ['M1', 'M2'] as const;
const RETENTIONS = ['P1D', 'P2D', 'unlimited'] as const;
const DAYS = ['2027-01-01', '2027-01-02'] as const;

/** A document that is a policy, as JSON would have it. */
export type Document = Record<string, unknown>;

const subset = <T extends string>(names: readonly T[], minLength = 0): fc.Arbitrary<T[]> =>
  fc.subarray([...names], { minLength });

/** An object with some of some keys. */
const some = <T>(names: readonly string[], value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
  subset(names).chain((keys) =>
    fc
      .tuple(...keys.map(() => value))
      .map((values) => Object.fromEntries(keys.map((name, i) => [name, values[i] as T]))),
  );

/** What is asked of connections: for all methods, for one where there is one, for none. */
function attestedOf(asked: string, [method]: readonly string[]): object {
  if (asked === 'all') return { attested: 'all' };
  return asked === 'one' && method !== undefined ? { attested: [`s.S/${method}`] } : {};
}

/** A random policy document. References hold; nothing contradicts. */
const WITNESSES = ['w1.example+01234567+AAAA', 'w2.example+01234567+AAAB'];
const WITNESS_LINES = WITNESSES.map((vkey, i) => `witness w${i + 1} ${vkey} https://w${i + 1}.example`);
const WITNESSED_BY_ANY = [...WITNESS_LINES, 'group quorum any w1 w2', 'quorum quorum'];
const WITNESSED_BY_BOTH = [...WITNESS_LINES, 'group quorum 2 w2 w1', 'quorum quorum'];

const GOVERNANCE = fc.record({
  sovereignty: fc.oneof(
    fc.constant('none'),
    fc.record({ minScore: fc.constantFrom(50, 80), maxExternalCalls: fc.constantFrom(0, 1) }),
  ),
  leaks: fc.oneof(
    fc.constant('none'),
    fc.record({ detectors: subset(['email', 'iban'], 1), on: subset(['egress', 'response'], 1) }),
  ),
  resources: fc.oneof(
    fc.constant('none'),
    fc.record({
      memory: fc.constantFrom('64MiB', '128MiB'),
      cpu: fc.constantFrom('1s', '500ms'),
      wall: fc.constant('5s'),
      inFlight: fc.constantFrom(1, 2),
      pressure: fc.constant({ memory: 10, cpu: 10 }),
      thermal: fc.constantFrom('none', 80),
    }),
  ),
});

const REVIEW = fc.constantFrom('none', { every: 'P1D', by: [key('A')] }, { every: 'P2D', by: [key('A'), key('B')] });

const EVIDENCE = fc.record(
  {
    durability: fc.constantFrom('before-response', 'batched'),
    retention: fc.constantFrom(...RETENTIONS),
    review: REVIEW,
    witnesses: fc.oneof(subset(WITNESSES), fc.constantFrom(WITNESSED_BY_ANY, WITNESSED_BY_BOTH)),
    readers: subset([key('A'), key('B')], 1),
    mirror: fc.constant('mirror.example+01234567+BBBB'),
  },
  { requiredKeys: ['durability', 'retention', 'review', 'witnesses'] },
);

const SUCCESSION = fc.oneof(
  fc.constant('none'),
  fc.record({
    signers: subset([key('A'), key('B')], 1),
    threshold: fc.constant(1),
    notice: fc.constantFrom('P1D', 'P2D'),
  }),
);

export const smallPolicy: fc.Arbitrary<Document> = fc
  .record({
    data: subset(CATEGORIES, 1),
    collections: subset(COLLECTIONS),
    subprocessors: subset(SUBPROCESSORS),
    identities: subset(IDENTITIES),
  })
  .chain(({ data, collections, subprocessors, identities }) => {
    const categories = subset(data);
    const rule = fc.record({
      purpose: fc.constantFrom('p', 'q'),
      callers: subset([...identities, 'anyone']),
      accepts: categories,
      reads: subset(collections),
      stores: subset(collections),
      sends: subset(subprocessors),
      returns: categories,
    });
    const each = <T>(names: readonly string[], value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
      fc
        .tuple(...names.map(() => value))
        .map((values) => Object.fromEntries(names.map((name, i) => [name, values[i] as T])));
    const document = fc.record({
      data: fc.constant(Object.fromEntries(data.map((category) => [category, { description: 'x' }]))),
      services: some(METHODS, rule).map((rules) => ({ 's.S': rules })),
      collections: each(
        collections,
        fc.record({
          holds: categories,
          storage: fc.constantFrom('sealed', 'volatile'),
          retention: fc.constantFrom(...RETENTIONS),
        }),
      ),
      subprocessors: each(
        subprocessors,
        fc.record({
          address: fc.constant('https://s.example'),
          identity: fc.constant({ ca: 'system' }),
          region: fc.constant('r1'),
          receives: categories,
          assurance: fc.oneof(
            fc.constant('none'),
            fc.record({
              kind: fc.constant('k'),
              document: fc.constant(`sha256:${'0'.repeat(64)}`),
              validUntil: fc.constantFrom(...DAYS),
            }),
          ),
        }),
      ),
      residency: fc.constantFrom('none', { regions: ['r1'] }, { regions: ['r1', 'r2'] }),
      access: fc.record({
        identities: each(
          identities,
          fc.record({
            category: fc.constant('public'),
            receives: categories,
            mtls: fc.constant({ ca: `sha256:${'1'.repeat(64)}` }),
          }),
        ),
      }),
      governance: GOVERNANCE,
      evidence: EVIDENCE,
      succession: SUCCESSION,
      claims: subset(['audited-system', 'no-undisclosed-recipients']).map((kinds) =>
        kinds.map((kind) => ({ id: kind, kind, statement: 'x' })),
      ),
    });
    return fc.tuple(document, fc.constantFrom('all', 'one', 'none')).map(([{ access, ...sections }, evidence]) => ({
      enclaim: 1,
      system: { name: 'a', owner: { name: 'A', contact: 'a' }, version: 2 },
      ...sections,
      access: { ...access, ...attestedOf(evidence, Object.keys(sections.services['s.S'])) },
    }));
  });
