/** Requests of health and reflection: what is long, or unknown, costs nothing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError, smallRequest } from '../src/channel/small-requests.ts';
import { HealthCheckRequestSchema } from '../src/gen/grpc/health/v1/health_pb.js';

/** The service "s", then an unknown field. */
const NAMED = Buffer.from([0x0a, 1, 0x73, 0x78, 0]);

/** A request as grpc-js hands it over: behind its prefix. */
function arrived(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]).subarray(5);
}

test('a name is read, and no unknown field is kept', () => {
  const request = smallRequest(HealthCheckRequestSchema, arrived(NAMED));
  assert.equal(request.service, 's');
  assert.equal(request.$unknown, undefined);
});

test('what is long is refused, however little is in it', () => {
  const longest = Buffer.alloc(4096, Buffer.of(0x78, 0));
  assert.equal(smallRequest(HealthCheckRequestSchema, arrived(longest)).service, '');
  const refused = (error: unknown): boolean => error instanceof RequestError && error.code === 8;
  assert.throws(() => smallRequest(HealthCheckRequestSchema, arrived(Buffer.concat([longest, longest]))), refused);
});

test('what is no request is refused', () => {
  const refused = (error: unknown): boolean => error instanceof RequestError && error.code === 3;
  assert.throws(() => smallRequest(HealthCheckRequestSchema, arrived(Buffer.of(0xff))), refused);
});
