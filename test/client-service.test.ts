/** The typed client of a service: without it, an answer of any of the four kinds could count without its receipt. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { DescService, Message } from '@bufbuild/protobuf';
import {
  type Answer,
  type AnswerStream,
  AppraisalError,
  type AttestedChannel,
  CallError,
  type CallOptions,
  type CheckedReceipt,
  connect,
  PolicyError,
  VerdictError,
} from '@enclaim/client';
import { buildBundle, compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema';
import { servicesOf } from '@enclaim/policy-schema/admission';
import { Metadata } from '@grpc/grpc-js';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';

type Item = Message & { readonly text: string };
type One = (request: object, options?: CallOptions) => Promise<Answer<Item>>;
type Many = (request: object, options?: CallOptions) => AnswerStream<Item>;

const app = join(import.meta.dirname, 'streams-app');
let server: AttestedRuntime;
let channel: AttestedChannel;
let service: DescService;
let one: Readonly<Record<string, One>>;
let many: Readonly<Record<string, Many>>;
const told: CheckedReceipt[] = [];

before(async () => {
  server = await bootAttested(
    await buildBundle({
      policyFile: join(app, 'policy.yaml'),
      protoDir: join(app, 'proto'),
      handlersEntry: join(app, 'handlers/index.ts'),
    }),
  );
  const [first] = servicesOf(readDescriptors(await compileProtos(join(app, 'proto'))));
  assert(first !== undefined);
  service = first;
  const { references, target } = server;
  channel = await connect(target, { references, onReceipt: (receipt) => told.push(receipt) });
  const client: unknown = channel.client(service);
  one = client as typeof one;
  many = client as typeof many;
});
after(async () => {
  await channel[Symbol.asyncDispose]();
  await server.stop();
});

const items = (...texts: string[]): object[] => texts.map((text) => ({ text }));

async function read(stream: AnswerStream<Item> | undefined): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of stream ?? []) texts.push(text);
  return texts;
}

describe('each kind of call gives its answer with its receipt', () => {
  test('unary', async () => {
    const answer = await one.unaryAll?.({ text: 'a' });
    assert.equal(answer?.message.text, 'a');
    assert.equal(answer?.receipt.body.method, 'streams.v1.Streams/UnaryAll');
    assert.equal(answer?.receipt, told.at(-1), 'the channel is told of the same receipt');
  });

  test('of calls at once, each its own', async () => {
    const texts = Array.from({ length: 20 }, (_, at) => `${at}`);
    const answers = await Promise.all(texts.map((text) => one.unaryAll?.({ text })));
    assert.deepEqual(
      answers.map((answer) => answer?.message.text),
      texts,
    );
    const numbers = new Set(answers.map((answer) => answer?.receipt.body.sequence));
    assert.equal(numbers.size, texts.length);
  });

  test('server stream', async () => {
    const stream = many.serverAll?.({ text: 'a' });
    assert.deepEqual(await read(stream), ['a']);
    assert.equal((await stream?.receipt)?.body.method, 'streams.v1.Streams/ServerAll');
  });

  test('client stream, from a generator, and from a list that is not taken whole', async () => {
    const generated = async function* () {
      yield* items('a', 'b', 'c');
    };
    const whole = await one.clientAll?.(generated());
    assert.deepEqual([whole?.message.text, whole?.receipt.messages], ['abc', 'both']);
    const first = await one.clientFirst?.(items('a', 'b', 'c'));
    assert.equal(first?.message.text, 'a');
  });

  test('both ways, one after the other', async () => {
    const stream = many.bidiAll?.(items('a', 'b', 'c'));
    assert.deepEqual(await read(stream), ['a', 'b', 'c']);
    assert.equal((await stream?.receipt)?.body.method, 'streams.v1.Streams/BidiAll');
  });
});

describe('a call that ends otherwise throws, and says why', () => {
  for (const method of ['unaryStatus', 'clientStatus']) {
    test(`${method}: a status of the handler, with its receipt`, async () => {
      const requests = method === 'unaryStatus' ? { text: 'a' } : items('a');
      await assert.rejects(one[method]?.(requests) ?? Promise.resolve(), (error) => {
        return (
          error instanceof CallError && error.code === 'NOT_FOUND' && error.receipt?.body.decision.result === 'allow'
        );
      });
    });
  }

  test('a stream whose end came before its reader asked for it throws, too', async () => {
    const stream = many.serverStatus?.({ text: 'a' });
    const reader = stream?.[Symbol.asyncIterator]();
    assert.equal((await reader?.next())?.value.text, 'a');
    await assert.rejects(stream?.receipt ?? Promise.resolve(), { name: 'CallError', code: 'NOT_FOUND' });
    await assert.rejects(reader?.next() ?? Promise.resolve(), { name: 'CallError', code: 'NOT_FOUND' });
  });

  test("the caller's own error ends the call, and is what the call throws", async () => {
    const reason = new Error('the source of the messages is gone');
    const broken = async function* () {
      yield* items('a');
      throw reason;
    };
    await assert.rejects(one.clientAll?.(broken()) ?? Promise.resolve(), reason);
    const stream = many.bidiAll?.(broken());
    await assert.rejects(read(stream), reason);
  });

  test('the signal cancels, before and in the middle', async () => {
    const reason = new Error('enough');
    await assert.rejects(one.unaryAll?.({}, { signal: AbortSignal.abort(reason) }) ?? Promise.resolve(), reason);
    const controller = new AbortController();
    const closed = Promise.withResolvers<void>();
    const endless = async function* () {
      try {
        for (;;) yield { text: 'a' };
      } finally {
        closed.resolve();
      }
    };
    const stream = many.bidiAll?.(endless() as never, { signal: controller.signal });
    const read = async (): Promise<void> => {
      for await (const _item of stream ?? []) controller.abort(reason);
    };
    await assert.rejects(read(), reason);
    await closed.promise;
  });

  test('a reader that leaves cancels the call', async () => {
    const stream = many.bidiAll?.(items('a', 'b', 'c'));
    for await (const { text } of stream ?? []) {
      assert.equal(text, 'a');
      break;
    }
    await assert.rejects(stream?.receipt ?? Promise.resolve(), { code: 'CANCELLED' });
  });

  test('a deadline that has passed', async () => {
    const late = one.unaryAll?.({ text: 'a' }, { timeout: -1, metadata: new Metadata() });
    await assert.rejects(late ?? Promise.resolve(), { code: 'DEADLINE_EXCEEDED' });
  });

  test('services whose answers have no receipt have no typed client', () => {
    const health = { ...service, typeName: 'grpc.health.v1.Health' };
    assert.throws(() => channel.client(health), { name: 'ChannelError', code: 'receipt' });
  });
});

describe('connect reads what it is given', () => {
  test('references as bytes or text', async () => {
    const text = JSON.stringify(server.references);
    for (const references of [text, Buffer.from(text)]) {
      await using other = await connect(server.target, { references });
      assert.equal(other.attestation.verdict.ok, true);
    }
    await assert.rejects(connect(server.target, { references: '{}' }), AppraisalError);
  });

  test('demands as text, beside those that were read', async () => {
    const { references, target } = server;
    await assert.rejects(connect(target, { references, require: ['claim audited-system'] }), VerdictError);
    await assert.rejects(connect(target, { references, require: ['what it pleases'] }), PolicyError);
  });
});
