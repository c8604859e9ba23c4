/** Reflection: only what is exposed is to be seen, and who does not read is not answered further. */

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, file_google_protobuf_any } from '@bufbuild/protobuf/wkt';
import { compileProtos } from '@enclaim/image';
import {
  canonicalPolicy,
  type ExposedMethod,
  parsePolicy,
  policyDigest,
  readDescriptors,
  servicesOf,
} from '@enclaim/policy-schema';
import { admit } from '../src/admission/admission.ts';
import { ReflectionService } from '../src/channel/reflection.ts';
import {
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../src/gen/grpc/reflection/v1/reflection_pb.js';

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

/** Reflection over files as a bundle has them; each stands before those that it imports. */
function serviceOf(...files: readonly MessageInitShape<typeof FileDescriptorProtoSchema>[]): ReflectionService {
  const file = files.map((each) => ({ syntax: 'proto3', ...each })).reverse();
  const set = create(FileDescriptorSetSchema, { file: [file_google_protobuf_any.proto, ...file] });
  const descriptors = readDescriptors(toBinary(FileDescriptorSetSchema, set));
  const exposed = servicesOf(descriptors).flatMap(({ methods }) => methods.map((descriptor) => ({ descriptor })));
  return new ReflectionService(exposed as unknown as ExposedMethod[]);
}

const method = { name: 'Call', inputType: '.a.Box', outputType: '.a.Box' };
const service = [{ name: 'Boxes', method: [method] }];

/** Names of the files in an answer. */
function filesIn(answer: ServerReflectionResponse | undefined): string[] {
  const response = answer?.messageResponse;
  assert(response?.case === 'fileDescriptorResponse');
  return response.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

test('a stream is given a file that it did not ask for once, and no answer is large', () => {
  const size = 400_000;
  const large = (at: number) => ({
    name: `large${at}.proto`,
    messageType: [{ name: `M${at}${'x'.repeat(size)}` }],
  });
  const imported = [1, 2, 3, 4].map(large);
  const dependency = imported.map(({ name }) => name);
  const boxes = { name: 'a.proto', package: 'a', dependency, service, messageType: [{ name: 'Box' }] };
  const stream = new Stream(serviceOf(boxes, ...imported));
  stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes' });
  stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes' });
  stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes.Call' });
  stream.ask({ case: 'fileByFilename', value: 'large4.proto' });
  assert.deepEqual(stream.answers.map(filesIn), [
    ['a.proto', 'large1.proto', 'large2.proto'],
    ['a.proto', 'large3.proto', 'large4.proto'],
    ['a.proto'],
    ['large4.proto'],
  ]);
});

test('a file that no client would take is refused', () => {
  const messageType = [{ name: 'Box' }, { name: 'x'.repeat(2 << 20) }];
  const stream = new Stream(serviceOf({ name: 'a.proto', package: 'a', service, messageType }));
  stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes' });
  const [answer] = stream.answers;
  assert(answer?.messageResponse.case === 'errorResponse');
  assert.equal(answer.messageResponse.value.errorCode, 8);
});

test('a type that only an Any can hold is found where one is in reach, and not where none is', () => {
  const only = { name: 'only.proto', package: 'b', messageType: [{ name: 'Only' }], service: [] };
  const field = { name: 'any', number: 1, type: 11, label: 1, typeName: '.google.protobuf.Any' };
  const boxes = { name: 'a.proto', package: 'a', service };
  const held = { dependency: ['google/protobuf/any.proto'], messageType: [{ name: 'Box', field: [field] }] };
  for (const holds of [true, false]) {
    const stream = new Stream(serviceOf({ ...boxes, ...(holds ? held : { messageType: [{ name: 'Box' }] }) }, only));
    stream.ask({ case: 'fileContainingSymbol', value: 'b.Only' });
    assert.equal(stream.answers[0]?.messageResponse.case === 'fileDescriptorResponse', holds);
  }
});

test('what stands in details of statuses is found', () => {
  const stream = new Stream(reflection);
  stream.ask({ case: 'fileContainingSymbol', value: 'google.rpc.Status' });
  stream.ask({ case: 'fileContainingSymbol', value: 'google.rpc.ErrorInfo' });
  assert.deepEqual(stream.answers.map(filesIn), [
    ['google/rpc/status.proto', 'google/protobuf/any.proto'],
    ['google/rpc/error_details.proto'],
  ]);
});
