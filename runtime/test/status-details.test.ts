/** `grpc-status-details-bin` as a compiler of google.rpc's own definitions reads it. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFileRegistry, fromBinary, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { compileProtos } from '../../image/src/programs/protos.ts';
import { statusDetails } from '../src/call/status-details.ts';

/** google/rpc/status.proto and error_details.proto (googleapis), as far as they are used. */
const DEFINITIONS = `syntax = "proto3";
package google.rpc;
import "google/protobuf/any.proto";
message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`;

test('a refusal is a Status with one ErrorInfo', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-status-'));
  await writeFile(join(folder, 'status.proto'), DEFINITIONS);
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, await compileProtos(folder)));
  await rm(folder, { recursive: true });
  const status = registry.getMessage('google.rpc.Status');
  assert(status !== undefined);
  const metadata = { claim: 'no-sharing', rule: '/services/a.B', pointer: '/services/a.B/C/returns' };
  const bytes = statusDetails(7, 'a.B/C returns nothing', { reason: 'FLOW', metadata });
  assert.deepEqual(toJson(status, fromBinary(status, bytes), { registry }), {
    code: 7,
    message: 'a.B/C returns nothing',
    details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'FLOW', domain: 'enclaim', metadata }],
  });
});
