/**
 * Documents and descriptors made to exhaust whoever reads them. As a program: detonates them one
 * after the other, and prints what came of each, how long it took, and how much memory all took at the most.
 */

import { create, toBinary } from '@bufbuild/protobuf';
import { DescriptorProtoSchema, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { checkCedar } from '../src/cedar.ts';
import { decodePolicy, match, PolicyError, parseDemand, parsePolicy, readDescriptors, runCases } from '../src/index.ts';

const MIB = 1 << 20;
const HEAD = 'enclaim: 1\nsystem: { name: a, owner: { name: A, contact: a }, version: 1 }\n';

const yaml = (text: string | Uint8Array) => (): unknown => parsePolicy(text, { checks: [checkCedar] });
const json = (text: string) => (): unknown => decodePolicy(new TextEncoder().encode(text));
const many = (count: number, part: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => part(i)).join('');

/** What to do, by name. Everything has to end in a PolicyError, but for the names in {@link HARMLESS}. */
export const BOMBS: Readonly<Record<string, () => unknown>> = {
  '1 MiB of [': yaml('['.repeat(MIB)),
  '256 KiB of [': yaml('['.repeat(MIB / 4)),
  '256 KiB of {a:': yaml('{a: '.repeat(MIB / 16)),
  '256 KiB of -': yaml('- '.repeat(MIB / 8)),
  '256 KiB of ?': yaml('? '.repeat(MIB / 8)),
  '256 KiB of quotes': yaml('"'.repeat(MIB / 4)),
  '256 KiB of one word': yaml('a'.repeat(MIB / 4)),
  '256 KiB of colons': yaml(':'.repeat(MIB / 4)),
  '256 KiB of newlines and tabs': yaml('\n\t'.repeat(MIB / 8)),
  'billion laughs': yaml(
    `a: &a [x,x,x,x,x,x,x,x,x]\n${many(9, (i) => `${'bcdefghij'[i]}: &${'bcdefghij'[i]} [${many(9, () => `*${'abcdefghi'[i]},`)}]\n`)}`,
  ),
  'an anchor of itself': yaml('a: &a [*a]\n'),
  'a million claims': yaml(`${HEAD}claims:\n${many(1_000_000, () => '- {}\n')}`),
  '65 thousand claims': yaml(`${HEAD}claims:\n${many(52_000, () => '- {}\n')}`),
  '4000 claims of unknown data': yaml(
    `${HEAD}claims:\n${many(3000, (i) => `- {id: a${i}, kind: residency, statement: x, data: [b${i}]}\n`)}`,
  ),
  '25 thousand unknown keys': yaml(`${HEAD}${many(25_000, (i) => `k${i}: 1\n`)}`),
  '40 thousand times one key': yaml(many(43_000, () => 'a: 1\n')),
  'an identifier of 64 KiB': yaml(HEAD.replace('name: a', `name: ${'a'.repeat(65_536)}`)),
  'a category of 64 KiB of dots': yaml(`${HEAD}data: { ${'a.'.repeat(32_768)}a: { description: x } }`),
  'a hyphenated word against the pattern': yaml(HEAD.replace('name: a', `name: ${'a-'.repeat(60_000)}!`)),
  'a host name against the pattern': yaml(
    `${HEAD}subprocessors: { s: { address: "https://${'a.'.repeat(60_000)}1", identity: { ca: system }, region: r } }`,
  ),
  'Cedar nested 30 thousand deep': yaml(
    `${HEAD}access: { cedar: "permit(principal, action, resource) when { ${'('.repeat(30_000)} };" }`,
  ),
  'Cedar of 60 thousand nots': yaml(
    `${HEAD}access: { cedar: "permit(principal, action, resource) when { ${'!'.repeat(60_000)}true };" }`,
  ),
  'invalid UTF-8': yaml(Uint8Array.from({ length: MIB / 4 }, () => 0xff)),
  'canonical: 256 KiB of [': json('['.repeat(MIB / 4)),
  'canonical: 256 KiB of {"a":': json('{"a":'.repeat(MIB / 20)),
  'canonical: 256 KiB of quotes': json('"'.repeat(MIB / 4)),
  'canonical: a number of 256 KiB': json('1'.repeat(MIB / 4)),
  'canonical: 60 thousand keys': json(`{${many(25_000, (i) => `"k${i}":1,`)}"z":1}`),
  'canonical: a long string of escapes': json(`"${'\\u0041'.repeat(43_000)}"`),
  'descriptors: 9 MiB': () => readDescriptors(new Uint8Array(9 * MIB)),
  'descriptors: messages nested 2000 deep': () => readDescriptors(nested(2000)),
  'descriptors: groups unclosed': () => readDescriptors(new Uint8Array(MIB).fill(0x0b)),
  'descriptors: the same file 10 thousand times': () =>
    readDescriptors(Uint8Array.from(Array.from({ length: 10_000 }, () => [...nested(1)]).flat())),
  'messages that refer to each other in 2^40 ways': () => match(readDescriptors(tangle(40)), parsePolicy(HEAD)),
  'a demand of 1 MiB': () => parseDemand(`recipients(a) subset [${'a,'.repeat(MIB / 2)}]`),
  'a demand of 4096 spaces': () => parseDemand(`claim a for ${' '.repeat(4080)}!`),
  'cases nested too deep': () => runCases(parsePolicy(HEAD), '['.repeat(MIB / 4), () => ({ allow: false })),
};

/** Large, and nothing is wrong with them. */
export const HARMLESS: ReadonlySet<string> = new Set(['messages that refer to each other in 2^40 ways']);

/** A file of one message in one message in one message … */
function nested(depth: number): Uint8Array {
  let message = [0x0a, 1, 0x4d];
  const within = (tag: number, bytes: readonly number[]): number[] => [tag, ...varint(bytes.length), ...bytes];
  for (let i = 1; i < depth; i++) message = [0x0a, 1, 0x4d, ...within(0x1a, message)];
  return Uint8Array.from(within(0x0a, [...within(0x0a, [0x61]), ...within(0x22, message)]));
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [0x80 | (value & 0x7f), ...varint(value >> 7)];
}

/** Messages each with two fields of the next, so that the number of ways doubles with each. */
function tangle(size: number): Uint8Array {
  const messages = Array.from({ length: size }, (_, i) =>
    create(DescriptorProtoSchema, {
      name: `M${i}`,
      field: [1, 2].map((number) => ({
        name: `f${number}`,
        jsonName: `f${number}`,
        number,
        type: 11,
        label: 1,
        typeName: `.a.M${(i + 1) % size}`,
      })),
    }),
  );
  const service = [{ name: 'S', method: [{ name: 'M', inputType: '.a.M0', outputType: '.a.M0' }] }];
  const file = create(FileDescriptorProtoSchema, {
    name: 'a.proto',
    package: 'a',
    syntax: 'proto3',
    messageType: messages,
    service,
  });
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] }));
}

if (import.meta.main) {
  const before = process.resourceUsage().maxRSS;
  const results = Object.entries(BOMBS).map(([name, detonate]) => {
    // What an earlier one left behind is not this one's.
    globalThis.gc?.();
    const start = process.cpuUsage();
    let outcome = 'no error';
    try {
      detonate();
    } catch (error) {
      outcome = error instanceof PolicyError ? `PolicyError ${error.code}` : `${error}`;
    }
    const { user, system } = process.cpuUsage(start);
    return { name, outcome, ms: (user + system) / 1000 };
  });
  console.log(JSON.stringify({ results, kib: process.resourceUsage().maxRSS - before }));
}
