/** Messages of strangers that have no form in JSON. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, createRegistry, type DescMessage, type Message } from '@bufbuild/protobuf';
import { AnySchema, DurationSchema, FieldMaskSchema, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { jsonOf } from '../src/message/decode.ts';

const kind = (numberValue: number) => ({ kind: { case: 'numberValue', value: numberValue } as const });
const WITHOUT: readonly (readonly [DescMessage, Message])[] = [
  [TimestampSchema, create(TimestampSchema, { seconds: 253_402_300_800n })],
  [DurationSchema, create(DurationSchema, { seconds: 315_576_000_001n })],
  [ValueSchema, create(ValueSchema, kind(Number.NaN))],
  [ValueSchema, create(ValueSchema, { kind: { case: undefined } })],
  [AnySchema, create(AnySchema, { typeUrl: 'type.googleapis.com/nobody.v1.Knows' })],
  [FieldMaskSchema, create(FieldMaskSchema, { paths: ['notSnakeCase'] })],
];

test('are refused by whoever made them, and named', () => {
  const registry = createRegistry();
  for (const [descriptor, message] of WITHOUT) {
    for (const [code, what] of [
      ['request', 'request'],
      ['peer', 'answer'],
    ] as const) {
      assert.throws(() => jsonOf(code, descriptor, message, registry), {
        name: 'RefusalError',
        code,
        message: `the ${what} has no JSON form as a ${descriptor.typeName}`,
      });
    }
  }
});
