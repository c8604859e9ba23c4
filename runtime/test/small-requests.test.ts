/** Requests of health and reflection: what is long, or unknown, costs nothing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '@enclaim/attestation/grpc-request';
import { smallRequest } from '../src/channel/small-requests.ts';
import { HealthCheckRequestSchema } from '../src/gen/grpc/health/v1/health_pb.js';

/** The service "s", then an unknown field. */
const NAMED = Buffer.from([0x0a, 1, 0x73, 0x78, 0]);

test('a name is read, and no unknown field is kept', () => {
  const request = smallRequest(HealthCheckRequestSchema, NAMED);
  assert.equal(request.service, 's');
  assert.equal(request.$unknown, undefined);
});

test('what is long is refused, however little is in it', () => {
  const longest = Buffer.alloc(4096, Buffer.of(0x78, 0));
  assert.equal(smallRequest(HealthCheckRequestSchema, longest).service, '');
  const refused = (error: unknown): boolean => error instanceof RequestError && error.status === 8;
  assert.throws(() => smallRequest(HealthCheckRequestSchema, Buffer.concat([longest, longest])), refused);
});

test('what is no request is refused', () => {
  const refused = (error: unknown): boolean => error instanceof RequestError && error.status === 3;
  assert.throws(() => smallRequest(HealthCheckRequestSchema, Buffer.of(0xff)), refused);
});
