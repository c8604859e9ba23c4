/** Reflection: only what is exposed is to be seen, and who does not read is not answered further. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, file_google_protobuf_any } from '@bufbuild/protobuf/wkt';
import { compileProtos } from '@enclaim/image';
import { canonicalPolicy, parsePolicy, policyDigest, readDescriptors } from '@enclaim/policy-schema';
import { type ExposedMethod, servicesOf } from '@enclaim/policy-schema/admission';
import { admit } from '../src/admission/admission.ts';
import type { GrpcCall } from '../src/channel/grpc-call.ts';
import { ReflectionService } from '../src/channel/reflection.ts';
import {
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../src/gen/grpc/reflection/v1/reflection_pb.js';

/** A call of reflection, whose client takes answers only when it is told to. */
class Conversation {
  readonly answers: ServerReflectionResponse[] = [];
  /** Lets the client take the last answer. */
  take: () => void = () => {};
  /** Whether a question is waited for. */
  isAsking = false;
  #ask: (question: Uint8Array | undefined) => void = () => {};

  constructor(service: ReflectionService) {
    const [[, method] = assert.fail()] = service.methods;
    method.serve(this as unknown as GrpcCall);
  }

  next(): Promise<Uint8Array | undefined> {
    this.isAsking = true;
    return new Promise((resolve) => {
      this.#ask = resolve;
    });
  }

  send(bytes: Uint8Array): Promise<void> {
    this.answers.push(fromBinary(ServerReflectionResponseSchema, bytes));
    return new Promise((resolve) => {
      this.take = resolve;
    });
  }

  end(): void {}

  /** Sends bytes as a question, and reads the answer. */
  async receive(request: Uint8Array): Promise<void> {
    this.take();
    await settled();
    this.isAsking = false;
    this.#ask(request);
    await settled();
  }

  ask(messageRequest: NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest']>) {
    return this.receive(
      toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest })),
    );
  }
}

/** Lets all promises that wait for nothing settle. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

let reflection: ReflectionService;
before(async () => {
  const clinic = join(import.meta.dirname, '../../examples/clinic');
  const policy = parsePolicy(readFileSync(join(clinic, 'policy.yaml'), 'utf8'));
  const { exposed } = admit(canonicalPolicy(policy), await compileProtos(join(clinic, 'proto')), policyDigest(policy));
  reflection = new ReflectionService(exposed);
});

test('an answer that is not taken stops the reading of questions, until it is', async () => {
  const stream = new Conversation(reflection);
  await stream.ask({ case: 'listServices', value: '' });
  assert.equal(stream.isAsking, false);
  stream.take();
  await settled();
  assert.equal(stream.isAsking, true);
});

test('a withheld service is neither listed nor found, and its method is in no file', async () => {
  const stream = new Conversation(reflection);
  await stream.ask({ case: 'listServices', value: '' });
  await stream.ask({ case: 'fileContainingSymbol', value: 'clinic.v1.Marketing' });
  await stream.ask({ case: 'fileContainingSymbol', value: 'clinic.v1.Intake' });
  const [listed, withheld, found] = stream.answers.map(({ messageResponse }) => messageResponse);
  assert.deepEqual(listed?.case === 'listServicesResponse' && listed.value.service.map(({ name }) => name), [
    'clinic.v1.Intake',
  ]);
  assert.equal(withheld?.case, 'errorResponse');
  assert(found?.case === 'fileDescriptorResponse');
  assert(!found.value.fileDescriptorProto.some((file) => Buffer.from(file).includes('Marketing')));
});

test('bytes that are no question are answered as such', async () => {
  const stream = new Conversation(reflection);
  await stream.receive(Buffer.from([0xff]));
  assert.equal(stream.answers[0]?.messageResponse.case, 'errorResponse');
});

test('a question is given back without what is unknown in it, and one that is long is refused', async () => {
  const stream = new Conversation(reflection);
  const [question, unknown] = [Buffer.from([0x3a, 1, 0x2a]), Buffer.of(0x78, 0)];
  await stream.receive(Buffer.concat([question, unknown]));
  await stream.receive(Buffer.alloc(5000, unknown));
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

test('a stream is given a file that it did not ask for once, and no answer is large', async () => {
  const size = 400_000;
  const large = (at: number) => ({
    name: `large${at}.proto`,
    messageType: [{ name: `M${at}${'x'.repeat(size)}` }],
  });
  const imported = [1, 2, 3, 4].map(large);
  const dependency = imported.map(({ name }) => name);
  const boxes = { name: 'a.proto', package: 'a', dependency, service, messageType: [{ name: 'Box' }] };
  const stream = new Conversation(serviceOf(boxes, ...imported));
  await stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes' });
  await stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes' });
  await stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes.Call' });
  await stream.ask({ case: 'fileByFilename', value: 'large4.proto' });
  assert.deepEqual(stream.answers.map(filesIn), [
    ['a.proto', 'large1.proto', 'large2.proto'],
    ['a.proto', 'large3.proto', 'large4.proto'],
    ['a.proto'],
    ['large4.proto'],
  ]);
});

test('a file that no client would take is refused', async () => {
  const messageType = [{ name: 'Box' }, { name: 'x'.repeat(2 << 20) }];
  const stream = new Conversation(serviceOf({ name: 'a.proto', package: 'a', service, messageType }));
  await stream.ask({ case: 'fileContainingSymbol', value: 'a.Boxes' });
  const [answer] = stream.answers;
  assert(answer?.messageResponse.case === 'errorResponse');
  assert.equal(answer.messageResponse.value.errorCode, 8);
});

test('a type that only an Any can hold is found where one is in reach, and not where none is', async () => {
  const only = { name: 'only.proto', package: 'b', messageType: [{ name: 'Only' }], service: [] };
  const field = { name: 'any', number: 1, type: 11, label: 1, typeName: '.google.protobuf.Any' };
  const boxes = { name: 'a.proto', package: 'a', service };
  const held = { dependency: ['google/protobuf/any.proto'], messageType: [{ name: 'Box', field: [field] }] };
  for (const holds of [true, false]) {
    const stream = new Conversation(
      serviceOf({ ...boxes, ...(holds ? held : { messageType: [{ name: 'Box' }] }) }, only),
    );
    await stream.ask({ case: 'fileContainingSymbol', value: 'b.Only' });
    assert.equal(stream.answers[0]?.messageResponse.case === 'fileDescriptorResponse', holds);
  }
});

test('what stands in details of statuses is found', async () => {
  const stream = new Conversation(reflection);
  await stream.ask({ case: 'fileContainingSymbol', value: 'google.rpc.Status' });
  await stream.ask({ case: 'fileContainingSymbol', value: 'google.rpc.ErrorInfo' });
  assert.deepEqual(stream.answers.map(filesIn), [
    ['google/rpc/status.proto', 'google/protobuf/any.proto'],
    ['google/rpc/error_details.proto'],
  ]);
});
