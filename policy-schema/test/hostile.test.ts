/**
 * Parsing, decoding, matching and demands end for any input in a value or a typed error, with
 * bounded work.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { labelOf } from '../src/admission.ts';
import {
  accept,
  canonicalPolicy,
  checkPolicy,
  decodePolicy,
  match,
  PolicyError,
  parseDemand,
  parsePolicy,
  readDescriptors,
} from '../src/index.ts';
import { BASE } from './base-policy.ts';
import { BOMBS, HARMLESS } from './bombs.ts';
import { compileFiles } from './compile.ts';

const RUNS = count(1000, 1000, 100);

/** Of the processor, over all of the process's threads. */
const MAX_MS = 3000;
const MAX_KIB = 200 * 1024;

// In a process of its own, for the most memory that one had at a time is all that a process tells.
test('bombs end in a PolicyError, with little work, and in little memory', () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', join(import.meta.dirname, 'bombs.ts')], {
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  const { results, kib } = JSON.parse(stdout) as {
    results: { name: string; outcome: string; ms: number }[];
    kib: number;
  };
  assert.equal(results.length, Object.keys(BOMBS).length);
  for (const { name, outcome, ms } of results) {
    assert.match(outcome, HARMLESS.has(name) ? /^no error$/ : /^PolicyError [a-z]+$/, name);
    assert.ok(ms < MAX_MS, `${name}: ${ms} ms`);
  }
  assert.ok(kib < MAX_KIB, `${kib} KiB`);
});

/** Runs something that has to end in a value or a PolicyError. */
function total(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    assert.ok(error.issues.length > 0 && error.issues.length <= 51);
  }
}

/** The base policy with some of its bytes replaced, dropped or doubled. */
const mutated = (original: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .array(fc.tuple(fc.nat(original.length - 1), fc.constantFrom('set', 'drop', 'double'), fc.nat(255)), {
      minLength: 1,
      maxLength: 8,
    })
    .map((edits) => {
      const bytes = [...original];
      for (const [at, how, value] of edits) {
        if (how === 'set') bytes[at] = value;
        else if (how === 'drop') bytes.splice(at, 1 + (value % 16));
        else bytes.splice(at, 0, ...bytes.slice(at, at + value));
      }
      return Uint8Array.from(bytes);
    });

const base = new TextEncoder().encode(BASE);
const canonical = canonicalPolicy(parsePolicy(BASE));

test('parsing is total over any bytes and any mutation of a policy', () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), mutated(base)), (bytes) => {
      const { policy, issues } = checkPolicy(bytes);
      assert.equal(
        policy === undefined,
        issues.some(({ severity }) => severity === 'error'),
      );
      for (const { line, column } of issues) assert.ok((line ?? 1) >= 1 && (column ?? 1) >= 1);
    }),
    { numRuns: RUNS },
  );
});

test('decoding is total, and nothing but canonical bytes decodes', () => {
  let decoded = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 400 }),
        mutated(canonical),
        fc.constant(canonical),
        fc.json().map((text) => new TextEncoder().encode(text)),
      ),
      (bytes) => {
        total(() => {
          const policy = decodePolicy(bytes);
          assert.deepEqual(canonicalPolicy(policy), bytes);
          decoded++;
        });
      },
    ),
    { numRuns: RUNS },
  );
  assert.ok(decoded > 0 && decoded < RUNS);
});

const PROTO = `syntax = "proto3"; package t; import "enclaim/handling.proto";
message In { string a = 1 [(enclaim.data) = "personal.health"]; In next = 2; map<string, In> m = 3 [(enclaim.data) = "operational"]; }
service S { rpc M(In) returns (In) { option (enclaim.handling) = { purpose: "care" }; } }`;

test('reading descriptors, matching and labelling are total over mutations', async () => {
  const { bytes, registry } = await compileFiles({ 't.proto': PROTO });
  const policy = parsePolicy(
    BASE.replace('services:\n', 'services:\n  t.S: { M: { purpose: care, callers: [staff], accepts: [personal] } }\n'),
  );
  fc.assert(
    fc.property(mutated(bytes.slice(-900)), (tail) => {
      total(() => match(readDescriptors(Uint8Array.from([...bytes.slice(0, -900), ...tail])), policy));
    }),
    { numRuns: RUNS },
  );
  const schema = registry.getMessage('t.In');
  assert.ok(schema);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (message) => total(() => labelOf(schema, message))),
    { numRuns: RUNS },
  );
});

test('demands are total', () => {
  const policy = parsePolicy(BASE);
  const words = fc.constantFrom(
    'claim',
    'residency',
    'for',
    'at least',
    'retention',
    '(personal)',
    '<=',
    'P1D',
    'recipients',
    'subset',
    '[',
    'mailer',
    ']',
    'overrides none',
    'x',
    ' ',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(words).map((parts) => parts.join(' ')),
      ),
      (text) => {
        total(() => accept(policy, [parseDemand(text)]));
      },
    ),
    { numRuns: RUNS },
  );
});

test('names that objects have already find nothing', () => {
  const policy = parsePolicy(BASE);
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    for (const record of [policy.collections, policy.services, policy.data, policy.subprocessors])
      assert.equal(record[name], undefined);
  }
});
