/** Reflection: only what is exposed is to be seen, and who does not read is not answered further. */

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { canonicalPolicy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import { admit } from '../src/admission.ts';
import {
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../src/gen/grpc/reflection/v1/reflection_pb.js';
import { ReflectionService } from '../src/reflection.ts';

/** A stream as grpc-js gives it to a handler, whose client takes answers only when it is told to. */
class Stream extends EventEmitter {
  readonly answers: ServerReflectionResponse[] = [];
  paused = false;
  take: (() => void) | undefined;

  constructor(service: ReflectionService) {
    super();
    service.implementation.ServerReflectionInfo?.(this as never, undefined as never);
  }

  write(bytes: Uint8Array, taken: () => void): boolean {
    this.answers.push(fromBinary(ServerReflectionResponseSchema, bytes));
    this.take = taken;
    return true;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(): void {}

  /** Bytes of a question, as grpc-js hands them over. */
  receive(request: Uint8Array): void {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(request.length, 1);
    this.emit('data', Buffer.concat([prefix, request]).subarray(5));
  }

  ask(messageRequest: NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest']>): void {
    const request = toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest }));
    this.receive(request);
  }
}

let reflection: ReflectionService;
before(async () => {
  const clinic = join(import.meta.dirname, '../../examples/clinic');
  const policy = parsePolicy(readFileSync(join(clinic, 'policy.yaml'), 'utf8'));
  const { exposed } = admit(canonicalPolicy(policy), await compileProtos(join(clinic, 'proto')), policyDigest(policy));
  reflection = new ReflectionService(exposed);
});

test('an answer that is not taken stops the reading of questions, until it is', () => {
  const stream = new Stream(reflection);
  stream.ask({ case: 'listServices', value: '' });
  assert.equal(stream.paused, true);
  stream.take?.();
  assert.equal(stream.paused, false);
});

test('a withheld service is neither listed nor found, and its method is in no file', () => {
  const stream = new Stream(reflection);
  stream.ask({ case: 'listServices', value: '' });
  stream.ask({ case: 'fileContainingSymbol', value: 'clinic.v1.Marketing' });
  stream.ask({ case: 'fileContainingSymbol', value: 'clinic.v1.Intake' });
  const [listed, withheld, found] = stream.answers.map(({ messageResponse }) => messageResponse);
  assert.deepEqual(listed?.case === 'listServicesResponse' && listed.value.service.map(({ name }) => name), [
    'clinic.v1.Intake',
  ]);
  assert.equal(withheld?.case, 'errorResponse');
  assert(found?.case === 'fileDescriptorResponse');
  assert(!found.value.fileDescriptorProto.some((file) => Buffer.from(file).includes('Marketing')));
});

test('bytes that are no question are answered as such', () => {
  const stream = new Stream(reflection);
  stream.emit('data', Buffer.from([0xff]));
  assert.equal(stream.answers[0]?.messageResponse.case, 'errorResponse');
});

test('a question is given back without what is unknown in it, and one that is long is refused', () => {
  const stream = new Stream(reflection);
  const [question, unknown] = [Buffer.from([0x3a, 1, 0x2a]), Buffer.of(0x78, 0)];
  stream.receive(Buffer.concat([question, unknown]));
  stream.receive(Buffer.alloc(5000, unknown));
  const [first, second] = stream.answers;
  assert.equal(first?.messageResponse.case, 'listServicesResponse');
  assert.equal(first.originalRequest?.$unknown, undefined);
  assert(second?.messageResponse.case === 'errorResponse');
  assert.equal(second.messageResponse.value.errorCode, 8);
});
