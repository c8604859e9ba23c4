/**
 * `node bench/policy.ts`: the cost of the policy room. Floors are what any reader of the same bytes
 * must pay: `yaml` and `JSON.parse` alone, and protobuf's own reading of the same descriptors.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import {
  accept,
  canonicalPolicy,
  decodePolicy,
  diff,
  match,
  parseDemand,
  parsePolicy,
  policyDigest,
  readDescriptors,
} from '@enclaim/policy-schema';
import { digestOfCanonical, labelOf } from '@enclaim/policy-schema/admission';
import { authorize } from '@enclaim/policy-schema/cedar';
import * as yaml from 'yaml';
import { compileFiles } from '../policy-schema/test/compile.ts';

const METHODS = 200;
const FIELDS = 2000;

/** Milliseconds of the middle run, after enough of them for the compiler to have settled. */
function p50(work: () => unknown, runs: number): number {
  for (let i = 0; i < runs; i++) work();
  const times = Array.from({ length: runs }, () => {
    const start = performance.now();
    work();
    return performance.now() - start;
  });
  return times.sort((a, b) => a - b)[runs >> 1] ?? 0;
}

function row(what: string, work: () => unknown, runs: number): void {
  const ms = p50(work, runs);
  console.log(`${what.padEnd(64)} ${ms < 1 ? `${(ms * 1000).toFixed(1)} µs` : `${ms.toFixed(2)} ms`}`);
}

/**
 * A policy of `METHODS` rules, and protos of as many methods over `FIELDS` fields in messages of
 * 10.
 */
function large(): { policy: string; proto: string } {
  const categories = Array.from({ length: 20 }, (_, i) => `personal.kind${i}`);
  const messages = Array.from({ length: FIELDS / 10 }, (_, m) => {
    const fields = Array.from(
      { length: 10 },
      (_, f) => `string f${f} = ${f + 1} [(enclaim.data) = "${categories[(m + f) % 20]}"];`,
    );
    return `message M${m} { ${fields.join(' ')} ${m > 0 ? `M${m - 1} next = 11;` : ''} }`;
  });
  const methods = Array.from(
    { length: METHODS },
    (_, i) =>
      `rpc C${i}(M${i}) returns (M${METHODS - 1 - i}) { option (enclaim.handling) = { purpose: "care" reads: ["c"] }; }`,
  );
  const rules = Array.from(
    { length: METHODS },
    (_, i) => `    C${i}: { purpose: care, callers: [anyone], accepts: [personal], reads: [c], returns: [personal] }`,
  );
  return {
    policy: `enclaim: 1
system: { name: large, owner: { name: A, contact: a }, version: 1 }
data:
${categories.map((category) => `  ${category}: { description: one of many, subjects: [person] }`).join('\n')}
services:
  b.S:
${rules.join('\n')}
collections: { c: { holds: [personal], retention: P30D } }
`,
    proto: `syntax = "proto3"; package b; import "enclaim/handling.proto"; ${messages.join('\n')} service S { ${methods.join('\n')} }`,
  };
}

const clinic = readFileSync(join(import.meta.dirname, '../examples/clinic/policy.full.yaml'), 'utf8');
const policy = parsePolicy(clinic);
const canonical = canonicalPolicy(policy);
const canonicalText = new TextDecoder().decode(canonical);
console.log(`the clinic's policy: ${clinic.length} bytes of YAML, ${canonical.length} canonical`);
row('  floor: yaml alone', () => yaml.parse(clinic), 200);
row('  parse and digest', () => policyDigest(parsePolicy(clinic)), 200);
row('  floor: JSON.parse alone', () => JSON.parse(canonicalText), 1000);
row('  decode and digest (in the VM)', () => digestOfCanonical(canonicalPolicy(decodePolicy(canonical))), 200);
const changed = parsePolicy(clinic.replace('retention: P30D', 'retention: P60D'));
row('  diff with one change', () => diff(policy, changed), 200);
const demands = [
  'claim encryption-at-rest for personal.health',
  'retention(personal.health) <= P30D',
  'recipients(personal.health) subset []',
  'regions subset [eu-west, eu-central]',
  'overrides none',
].map(parseDemand);
row('  accept, 5 demands', () => accept(policy, demands), 1000);
row(
  '  authorize (Cedar, not prepared)',
  () =>
    authorize(policy, {
      identity: 'staff',
      caller: { id: 'a', groups: ['clinician'] },
      method: 'clinic.v1.Intake/Read',
      label: new Set(),
    }),
  50,
);

const { policy: largeText, proto } = large();
const largePolicy = parsePolicy(largeText);
const { bytes } = await compileFiles({ 'b.proto': proto });
console.log(
  `${METHODS} methods over ${FIELDS} fields: ${largeText.length} bytes of YAML, ${bytes.length} of descriptors`,
);
row('  floor: yaml alone', () => yaml.parse(largeText), 20);
row('  parse and digest', () => policyDigest(parsePolicy(largeText)), 20);
row(
  '  floor: read descriptors with protobuf alone',
  () => createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes)),
  10,
);
row('  read descriptors', () => readDescriptors(bytes), 10);
row('  read descriptors and match', () => match(readDescriptors(bytes), largePolicy), 10);
const read = readDescriptors(bytes);
row('  match again', () => match(read, largePolicy), 10);
row('  diff with itself', () => diff(largePolicy, largePolicy), 20);

const schema = read.registry.getMessage('b.M9');
if (!schema) throw new Error('no message');
const message = Uint8Array.from(Array.from({ length: 10 }, (_, i) => [((i + 1) << 3) | 2, 3, 97, 98, 99]).flat());
row('label of a message of 10 fields, from bytes', () => labelOf(schema, message), 5000);
row('  floor: reading it', () => fromBinary(schema, message), 5000);
