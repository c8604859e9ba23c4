/** What every gRPC tool asks a server: health, its list and its watch; reflection by both names; a name in the certificate. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { HealthListResponseSchema } from '../runtime/src/gen/grpc/health/v1/health_pb.js';
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from '../runtime/src/gen/grpc/reflection/v1/reflection_pb.js';
import { type Served, serve } from './hostile/served.ts';
import type { Weakness } from './hostile/weakened.ts';
import { prefixed } from './support/requests.ts';

const SHORT: Weakness = { constants: { 'LIMITS.stream': 400, 'LIMITS.taking': -30_000 } };

let served: Served;
let session: ClientHttp2Session;
before(async () => {
  served = await serve({ Collect: 'await new Promise(() => {})' }, SHORT);
  session = connect(`https://127.0.0.1:${served.port}`, { rejectUnauthorized: false });
  await once(session, 'connect');
});
after(() => {
  session.destroy();
  served.close();
});

function ask(path: string, message?: Uint8Array): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  if (message !== undefined) stream.write(prefixed(message));
  return stream;
}

/** The first message of an answer. */
async function answer(stream: ClientHttp2Stream): Promise<Buffer> {
  let held = Buffer.alloc(0);
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    held = Buffer.concat([held, chunk]);
    if (held.length >= 5 && held.length >= 5 + held.readUInt32BE(1)) break;
  }
  return held.subarray(5, 5 + held.readUInt32BE(1));
}

test('health lists every service', async () => {
  const { statuses } = fromBinary(
    HealthListResponseSchema,
    await answer(ask('/grpc.health.v1.Health/List', Buffer.of()).end()),
  );
  assert.deepEqual(
    Object.entries(statuses).map(([name, { status }]) => [name, status]),
    [
      ['', 1],
      ['lab.v1.Lab', 1],
    ],
  );
});

test('a watch of health outlives every other stream', async () => {
  const watch = ask('/grpc.health.v1.Health/Watch', Buffer.of());
  watch.end();
  assert.deepEqual([...(await answer(watch))], [8, 1]);
  const unfinished = ask('/grpc.health.v1.Health/Watch'); // its request never comes
  const other = ask('/lab.v1.Lab/Collect');
  // Both began after it, and end by their age.
  await Promise.all([once(unfinished, 'close'), once(other, 'close')]);
  assert.equal(watch.closed, false);
  watch.close();
});

for (const version of ['v1', 'v1alpha']) {
  const reflect = async (messageRequest: Parameters<typeof create<typeof ServerReflectionRequestSchema>>[1]) => {
    const question = toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, messageRequest));
    const stream = ask(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, question);
    const { messageResponse } = fromBinary(ServerReflectionResponseSchema, await answer(stream));
    stream.close();
    return messageResponse;
  };
  test(`reflection ${version} finds services, health, and extensions by type and number`, async () => {
    for (const value of ['lab.v1.Lab', 'lab.v1.Lab.Sum', 'grpc.health.v1.Health', 'grpc.health.v1.Health.Check']) {
      const found = await reflect({ messageRequest: { case: 'fileContainingSymbol', value } });
      assert.equal(found.case, 'fileDescriptorResponse', value);
    }
    const type = 'google.protobuf.FieldOptions';
    const numbers = await reflect({ messageRequest: { case: 'allExtensionNumbersOfType', value: type } });
    assert(numbers.case === 'allExtensionNumbersResponse' && numbers.value.extensionNumber.length > 0);
    for (const extensionNumber of numbers.value.extensionNumber) {
      const value = { containingType: type, extensionNumber };
      const found = await reflect({ messageRequest: { case: 'fileContainingExtension', value } });
      assert.equal(found.case, 'fileDescriptorResponse');
    }
    const unknown = { containingType: type, extensionNumber: 1 };
    assert.equal(
      (await reflect({ messageRequest: { case: 'fileContainingExtension', value: unknown } })).case,
      'errorResponse',
    );
  });
}

test('the certificate has names, with evidence and without', () => {
  for (const evidence of [Buffer.of(), Buffer.alloc(3000)])
    assert.equal(
      new X509Certificate(makeBootKeys().certificate(evidence)).subjectAltName,
      'DNS:enclaim, DNS:localhost',
    );
});

test('a call lasts as long as the policy says, where it says so', async () => {
  // All calls of this server would be over at once by its own limit.
  const weakness: Weakness = { constants: { 'LIMITS.call': 1 } };
  const wall = '600s';
  const resources = { memory: '16MiB', cpu: '1s', wall, inFlight: 4, pressure: { memory: 100, cpu: 100 } };
  const handlers = { Collect: 'for await (const _ of request); return {}' };
  const statusOf = async (governance: object): Promise<unknown> => {
    const { port, close } = await serve(handlers, weakness, { policy: { governance } });
    const own = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const stream = own.request({
      ':method': 'POST',
      ':path': '/lab.v1.Lab/Collect',
      'content-type': 'application/grpc',
    });
    let status: unknown;
    for (const event of ['response', 'trailers'])
      stream.on(event, (said) => {
        status ??= said['grpc-status'];
      });
    await sleep(300);
    stream.resume().end();
    await once(stream, 'close');
    own.destroy();
    close();
    return status;
  };
  assert.equal(await statusOf({ resources }), '0');
  assert.notEqual(await statusOf({}), '0');
});
