/**
 * Descriptors are read with their places, and what cannot be read withholds its method or is
 * refused.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { match, PolicyError, parsePolicy, readDescriptors } from '../src/index.ts';
import { compileFiles } from './compile.ts';

type File = MessageInitShape<typeof FileDescriptorProtoSchema>;

const file = (name: string, more: File = {}): File => ({ name, package: 'a', syntax: 'proto3', ...more });

const setOf = (...files: readonly File[]): Uint8Array =>
  toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files] }));

/** Sets that another reader could take for something else, or that say less than they need. */
const REFUSED: readonly (readonly [id: string, bytes: Uint8Array, message: RegExp])[] = [
  ['not a set', Uint8Array.of(0xff), /not a set of descriptors/],
  [
    'a set cut short',
    setOf(file('a.proto', { messageType: [{ name: 'M' }] })).subarray(0, -1),
    /not a set of descriptors/,
  ],
  ['a file twice', setOf(file('a.proto'), file('a.proto')), /a file stands in it twice/],
  ['an import that is missing', setOf(file('a.proto', { dependency: ['b.proto'] })), /not a set of descriptors/],
  ['an import of itself', setOf(file('a.proto', { dependency: ['a.proto'] })), /not a set of descriptors/],
  [
    'a message twice',
    setOf(file('a.proto', { messageType: [{ name: 'M' }] }), file('b.proto', { messageType: [{ name: 'M' }] })),
    /a\.M is declared twice/,
  ],
  [
    'a message that is an enum, too',
    setOf(
      file('a.proto', { messageType: [{ name: 'M' }], enumType: [{ name: 'M', value: [{ name: 'Z', number: 0 }] }] }),
    ),
    /a\.M is declared twice/,
  ],
  [
    'a field twice',
    setOf(
      file('a.proto', {
        messageType: [{ name: 'M', field: [1, 2].map((number) => ({ name: 'f', number, type: 9, label: 1 })) }],
      }),
    ),
    /a\.M\.f is declared twice/,
  ],
  [
    'a field and a oneof that meet in camelCase',
    setOf(
      file('a.proto', {
        messageType: [
          {
            name: 'M',
            oneofDecl: [{ name: 'user_info' }],
            field: [
              { name: 'a', jsonName: 'a', number: 1, type: 9, label: 1, oneofIndex: 0 },
              { name: 'userInfo', jsonName: 'userInfo', number: 2, type: 9, label: 1 },
            ],
          },
        ],
      }),
    ),
    /oneof user_info and userInfo of a\.M have one name in camelCase: "userInfo"/,
  ],
  [
    'two oneofs that meet in camelCase',
    setOf(
      file('a.proto', {
        messageType: [
          {
            name: 'M',
            oneofDecl: [{ name: 'user_info' }, { name: 'userInfo' }],
            field: [0, 1].map((oneofIndex) => ({
              ...{
                name: `f${oneofIndex}`,
                jsonName: `f${oneofIndex}`,
                number: oneofIndex + 1,
                type: 9 as const,
                label: 1 as const,
              },
              oneofIndex,
            })),
          },
        ],
      }),
    ),
    /oneof user_info and oneof userInfo of a\.M have one name in camelCase: "userInfo"/,
  ],
  ...(
    [
      [
        'two fields that meet in camelCase',
        { name: 'user_info', jsonName: 'x' },
        { name: 'userInfo', jsonName: 'y' },
        'camelCase',
      ],
      ['two fields of one name in JSON', { name: 'a', jsonName: 'x' }, { name: 'b', jsonName: 'x' }, 'JSON'],
      ['a field whose name is another one in JSON', { name: 'a', jsonName: 'b' }, { name: 'b', jsonName: 'c' }, 'JSON'],
    ] as const
  ).map(
    ([id, one, other, where]) =>
      [
        id,
        setOf(
          file('a.proto', {
            messageType: [
              {
                name: 'M',
                field: [one, other].map((field, at) => ({
                  ...field,
                  number: at + 1,
                  type: 9 as const,
                  label: 1 as const,
                })),
              },
            ],
          }),
        ),
        new RegExp(`of a\\.M have one name in ${where}`),
      ] as const,
  ),
  [
    'a method twice',
    setOf(
      file('a.proto', {
        messageType: [{ name: 'M' }],
        service: [{ name: 'S', method: [1, 2].map(() => ({ name: 'C', inputType: '.a.M', outputType: '.a.M' })) }],
      }),
    ),
    /a\.S\/C is declared twice/,
  ],
  [
    'a service twice',
    setOf(file('a.proto', { service: [{ name: 'S' }] }), file('b.proto', { service: [{ name: 'S' }] })),
    /a\.S is declared twice/,
  ],
  [
    'a method of an unknown message',
    setOf(
      file('a.proto', { service: [{ name: 'S', method: [{ name: 'C', inputType: '.a.M', outputType: '.a.M' }] }] }),
    ),
    /not a set of descriptors/,
  ],
];

for (const [id, bytes, message] of REFUSED) {
  test(`refused: ${id}`, () => {
    assert.throws(
      () => readDescriptors(bytes),
      (error) => error instanceof PolicyError && error.code === 'descriptor' && message.test(error.message),
    );
  });
}

test('nothing at all is a set of nothing', () => {
  const { exposed, withheld } = match(
    readDescriptors(new Uint8Array()),
    parsePolicy('enclaim: 1\nsystem: { name: a, owner: { name: A, contact: a }, version: 1 }'),
  );
  assert.deepEqual([exposed, withheld], [[], []]);
});

const PROTO = (options: string): string => `syntax = "proto3"; package t; import "enclaim/handling.proto";
message Outer { message Inner { string x = 1; } Inner inner = 1; }
service S { rpc M(Outer) returns (Outer) { ${options} } }`;

test('places are those of the declaration, in nested messages too', async () => {
  const policy = parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
services: { t.S: { M: { purpose: p, callers: [anyone] } } }`);
  const { withheld } = match(await compileFiles({ 'deep/t.proto': PROTO('') }), policy);
  const reasons = withheld[0]?.reasons ?? [];
  assert.deepEqual(
    reasons.map(({ code, field, proto }) => [code, field, proto]),
    [
      ['undeclared', undefined, { file: 'deep/t.proto', line: 3, column: 13 }],
      ['uncategorised', 'inner.x', { file: 'deep/t.proto', line: 2, column: 33 }],
      ['uncategorised', 'inner.x', { file: 'deep/t.proto', line: 2, column: 33 }],
    ],
  );
});

test('a misspelt option is refused where it stands', async () => {
  for (const [option, message] of [
    ['option (enclaim.handlng) = { purpose: "p" };', /t\.proto:3:52: cannot find `enclaim\.handlng`/],
    ['option (enclaim.handling) = { porpose: "p" };', /t\.proto:3:74: /],
    ['option (enclaim.handling) = { purpose: 3 };', /t\.proto:3:83: /],
  ] as const) {
    await assert.rejects(
      () => compileFiles({ 't.proto': PROTO(option) }),
      (error) => error instanceof PolicyError && error.code === 'descriptor' && message.test(error.message),
    );
  }
});

test('options of the numbers of ours that cannot be read withhold the method', () => {
  // (enclaim.handling) is a message; here its number holds a byte that is none.
  const methodOptions = Uint8Array.from([0xf2, 0xa6, 0x19, 0x01, 0xff]);
  const method = Uint8Array.from([
    ...lengthed(0x0a, [0x43]),
    ...lengthed(
      0x12,
      [...'.a.M'].map((c) => c.charCodeAt(0)),
    ),
    ...lengthed(
      0x1a,
      [...'.a.M'].map((c) => c.charCodeAt(0)),
    ),
    ...lengthed(0x22, [...methodOptions]),
  ]);
  const service = [...lengthed(0x0a, [0x53]), ...lengthed(0x12, [...method])];
  const head = toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, { file: [file('a.proto', { messageType: [{ name: 'M' }] })] }),
  );
  const body = [...head.subarray(2), ...lengthed(0x32, service)];
  const { exposed, withheld } = match(
    readDescriptors(Uint8Array.from(lengthed(0x0a, body))),
    parsePolicy(
      'enclaim: 1\nsystem: { name: a, owner: { name: A, contact: a }, version: 1 }\nservices: { a.S: { C: { purpose: p, callers: [anyone] } } }',
    ),
  );
  assert.deepEqual([exposed.length, withheld[0]?.reasons.map(({ code }) => code)], [0, ['handling']]);
});

function lengthed(tag: number, bytes: readonly number[]): number[] {
  return [tag, bytes.length, ...bytes];
}
