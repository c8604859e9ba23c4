/** Messages of a policy's methods: usual or not, they come out the same, and refusals are their maker's. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ExposedMethod, type OutboundMethod, readDescriptors } from '@enclaim/policy-schema/admission';
import { compileFiles } from '../../../policy-schema/test/compile.ts';
import { walkBytes } from '../../src/message/message-walk.ts';
import { Messages } from '../../src/message/transcoder/messages.ts';

const { bytes } = await compileFiles({
  't.proto': `syntax = "proto3"; package t; import "enclaim/handling.proto";
    message M { string word = 1 [(enclaim.data) = "a"]; int32 number = 2 [(enclaim.data) = "b"]; M inner = 3; }
    service S { rpc Ask(M) returns (M); rpc Pinned(M) returns (M); rpc Tell(M) returns (M); }`,
});
const descriptors = readDescriptors(bytes);
const { registry } = descriptors;
const service = registry.getService('t.S') ?? assert.fail();
const exposed = ['Ask', 'Pinned'].map((name, i) => ({
  id: `t.S/${name}`,
  descriptor: service.methods[i],
  rule: { interface: name === 'Ask' ? 'any' : 'sha256:00', accepts: ['a', 'b', 'c'] },
})) as unknown as ExposedMethod[];
const outbound = [{ id: 't.S/Tell', descriptor: service.methods[2] }] as unknown as OutboundMethod[];
const messages = new Messages({ exposed, outbound, descriptors });

/** "x" in `word`. */
const usual = Uint8Array.of(0x0a, 1, 0x78);
/** The same twice, of which the last counts. */
const twice = Uint8Array.of(0x0a, 1, 0x79, 0x0a, 1, 0x78);
/** The same beside a field that is not declared. */
const more = Uint8Array.of(...usual, 0x78, 0);

test('a request is the same whether one pass reads it or the reference does', () => {
  const { input } = messages.of('t.S/Pinned');
  for (const request of [usual, twice]) {
    const { text, label, texts, message } = input.read(request, true);
    assert.deepEqual([text, [...label].sort(), texts], ['{"word":"x"}', ['a', 'b'], ['x']]);
    assert.deepEqual(message(), fromBinary(input.type, usual));
    assert.deepEqual(input.read(request, false).texts, []);
  }
});

test('a request of a method without a pinned interface counts as all that the method accepts', () => {
  const { input } = messages.of('t.S/Ask');
  for (const request of [usual, twice, new Uint8Array()])
    assert.deepEqual([...input.read(request, false).label].sort(), ['a', 'b', 'c']);
  assert.deepEqual([...messages.of('t.S/Pinned').input.read(new Uint8Array(), false).label], ['b']);
});

test('a response is the same whether one pass writes it or the reference does', () => {
  const { output } = messages.of('t.S/Ask');
  for (const json of [
    { word: 'x', number: 0 },
    { word: 'x', number: '0' },
  ]) {
    const { bytes, label, texts } = output.write(json, true);
    assert.deepEqual(bytes(), usual);
    assert.deepEqual([[...label].sort(), texts], [['a', 'b'], ['x']]);
  }
});

test('refusals name the maker, and are the same of both', () => {
  const { input, output } = messages.of('t.S/Ask');
  assert.throws(() => input.read(more, false), { code: 'request', message: 'the request is not a t.M' });
  assert.throws(() => input.read(Uint8Array.of(0x0a), false), { code: 'request', message: 'the request is not a t.M' });
  assert.throws(() => input.read(Uint8Array.of(0x0a, 1, 0xff), false), { code: 'request' });
  assert.throws(() => output.write({ nobody: 1 }, false), { code: 'response', message: 'the response is not a t.M' });
  assert.throws(() => output.write(null, false), { code: 'response', message: 'the response is not a t.M' });
  const tell = messages.ofOutbound('t.S/Tell');
  assert.throws(() => tell.input.write({ word: 1 }, true), { code: 'request' });
  assert.throws(() => tell.output.read(Uint8Array.of(0x0a), true), {
    code: 'peer',
    message: 'the answer is not a t.M',
  });
});

test('of a subprocessor’s answer only what no .proto declares is left out', () => {
  const { output } = messages.ofOutbound('t.S/Tell');
  assert.equal(output.read(more, true).text, '{"word":"x"}');
  const walked = walkBytes({ maker: 'peer', type: output.type, registry, searched: true }, more);
  assert.deepEqual(walked.texts, output.read(more, true).texts);
});

test('a message as deep as may be is read, and a deeper one is refused', () => {
  const { input } = messages.of('t.S/Ask');
  const deep = (levels: number): Uint8Array => {
    let inner = toBinary(input.type, fromBinary(input.type, usual));
    for (let level = 0; level < levels; level++)
      inner = Uint8Array.of(
        0x1a,
        ...(inner.length < 128 ? [inner.length] : [(inner.length & 127) | 128, inner.length >> 7]),
        ...inner,
      );
    return inner;
  };
  assert.ok(input.read(deep(64), false).text.endsWith(`{"word":"x"}${'}'.repeat(64)}`));
  assert.throws(() => input.read(deep(65), false), { code: 'request' });
});

test('methods that were not compiled have no messages', () => {
  assert.throws(() => messages.of('t.S/Tell'), RangeError);
  assert.throws(() => messages.ofOutbound('t.S/Ask'), RangeError);
});
