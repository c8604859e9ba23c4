/** What a call may make its client hold until the receipt comes, and which calls have one. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { type Call, receiptCall } from '../src/receipt-call.ts';

type Listener = Parameters<Call['start']>[1];

/** A call without a transport, and what was done to it. */
function opened(path: string) {
  const seen = { listener: undefined as Listener | undefined, cancelled: undefined as status | undefined };
  const bare = {
    start: (_: Metadata, listener: Listener) => {
      seen.listener = listener;
    },
    sendMessageWithContext: () => {},
    cancelWithStatus: (code: status) => {
      seen.cancelled ??= code;
    },
  } as unknown as Call;
  const { start } = bare;
  const call = receiptCall(
    bare,
    path,
    () => undefined,
    () => {},
  );
  const wrapped = call.start !== start;
  const passed: Buffer[] = [];
  const told = Promise.withResolvers<status>();
  call.start(new Metadata(), {
    onReceiveMetadata: () => {},
    onReceiveMessage: (message: Buffer) => passed.push(message),
    onReceiveStatus: ({ code }: StatusObject) => void told.resolve(code),
  });
  return { call, seen, wrapped, passed, told: told.promise };
}

describe('messages that are held', () => {
  const EMPTY = Buffer.alloc(0);
  const MOST = 300_000;

  test('are few, however small: a stream of empty ones is ended', () => {
    const { seen, passed } = opened('/a.B/C');
    for (let sent = 0; sent < MOST && seen.cancelled === undefined; sent++) seen.listener?.onReceiveMessage(EMPTY);
    assert.equal(seen.cancelled, status.RESOURCE_EXHAUSTED);
    assert.ok(passed.length > 200_000, 'and not before it is long');
  });

  test('are few in the other direction, too', () => {
    const { call, seen } = opened('/a.B/C');
    for (let sent = 0; sent < MOST && seen.cancelled === undefined; sent++) call.sendMessageWithContext({}, EMPTY);
    assert.equal(seen.cancelled, status.RESOURCE_EXHAUSTED);
  });
});

test('an answer of a handler counts only with a receipt, whatever its status; a refusal may have none', async () => {
  const { OK, NOT_FOUND, ALREADY_EXISTS, ABORTED, OUT_OF_RANGE } = status;
  for (const code of [OK, NOT_FOUND, ALREADY_EXISTS, ABORTED, OUT_OF_RANGE]) {
    const { seen, told } = opened('/a.B/C');
    seen.listener?.onReceiveStatus({ code, details: '', metadata: new Metadata() });
    assert.equal(await told, status.DATA_LOSS, status[code]);
  }
  for (const code of [status.UNAVAILABLE, status.RESOURCE_EXHAUSTED, status.PERMISSION_DENIED, status.INTERNAL]) {
    const { seen, told } = opened('/a.B/C');
    seen.listener?.onReceiveStatus({ code, details: '', metadata: new Metadata() });
    assert.equal(await told, code, status[code]);
  }
});

test('no receipt is needed of the methods of the runtime itself, and of no other beside them', () => {
  for (const path of [
    '/enclaim.v1.Log/GetCheckpoint',
    '/enclaim.v1.Log/GetEntries',
    '/enclaim.v1.Log/GetProof',
    '/enclaim.v1.Log/GetTile',
    '/enclaim.v1.Log/Watch',
    '/grpc.health.v1.Health/Check',
    '/grpc.health.v1.Health/List',
    '/grpc.health.v1.Health/Watch',
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  ]) {
    assert.equal(opened(path).wrapped, false, path);
  }
  for (const path of [
    '/enclaim.v1.Log/Get',
    '/enclaim.v1.Logs/GetTile',
    '/grpc.health.v1.Health/SubmitRecord',
    '/grpc.health.v1.Health/Check/',
    '/grpc.health.v1.Health/',
    '/grpc.reflection.v1.ServerReflection/Submit',
    '/grpc.reflection.v1alpha.ServerReflection/Submit',
    '/a.B/C',
  ]) {
    assert.equal(opened(path).wrapped, true, path);
  }
});
