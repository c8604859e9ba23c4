/** Descriptors of what a server exposes, asked over a channel that has shown its evidence. */

import {
  create,
  createFileRegistry,
  type FileRegistry,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type ChannelInterface as Channel, Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { ChannelError } from './errors.ts';
import {
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from './gen/grpc/reflection/v1/reflection_pb.js';

type Answer = ServerReflectionResponse['messageResponse'];
type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest']>;
/**
 * Bytes of all files that a server answers with. A bundle has at most half as many, and some files
 * are answered twice.
 */
const MAX_DESCRIPTOR_BYTES = 16 * 1024 * 1024;
const PATH = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';

/**
 * The services that a server exposes, and a registry of everything they need.
 * @param options.deadline milliseconds since 1970, for all questions together
 * @throws ChannelError `protocol`, `timeout`
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { describeServices } from '@enclaim/client/network';
 *
 * await using server = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * const { services } = await describeServices(server, { deadline: Date.now() + 5000 });
 * console.log(services);
 * ```
 */
export async function describeServices(
  channel: Channel,
  { deadline }: { readonly deadline: number },
): Promise<{ services: readonly string[]; registry: FileRegistry }> {
  const ask = (question: Question): Promise<Answer> => askOne(channel, question, deadline);
  const listed = await ask({ case: 'listServices', value: '' });
  if (listed.case !== 'listServicesResponse') throw unexpected(listed);
  const services = listed.value.service.map(({ name }) => name);
  const files = new Map<string, FileDescriptorProto>();
  let size = 0;
  const take = async (question: Question): Promise<void> => {
    const found = await ask(question);
    if (found.case !== 'fileDescriptorResponse') throw unexpected(found);
    for (const bytes of found.value.fileDescriptorProto) {
      size += bytes.length;
      if (size > MAX_DESCRIPTOR_BYTES)
        throw new ChannelError('protocol', `reflection: more than ${MAX_DESCRIPTOR_BYTES} bytes of files`);
      const file = reading(() => fromBinary(FileDescriptorProtoSchema, bytes));
      files.set(file.name, file);
    }
  };
  for (const name of services) {
    const known = [...files.values()].some(({ package: prefix, service }) =>
      service.some((each) => name === (prefix === '' ? each.name : `${prefix}.${each.name}`)),
    );
    if (!known) await take({ case: 'fileContainingSymbol', value: name });
  }
  // An answer may leave out what is imported. A map goes on over what is added to it on the way.
  for (const { dependency } of files.values()) {
    for (const name of dependency) {
      if (files.has(name)) continue;
      await take({ case: 'fileByFilename', value: name });
      if (!files.has(name))
        throw new ChannelError('protocol', `reflection: ${name} was asked for, and is not answered`);
    }
  }
  const file = inOrder([...files.values()]);
  return { services, registry: reading(() => createFileRegistry(create(FileDescriptorSetSchema, { file }))) };
}

/** Files after the files they import, as a registry wants them. */
function inOrder<F extends { name: string; dependency: string[] }>(files: readonly F[]): F[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const ordered = new Set<F>();
  const visit = (file: F, above: ReadonlySet<string>): void => {
    if (above.has(file.name)) throw new ChannelError('protocol', `${file.name} imports itself`);
    for (const name of file.dependency) {
      const dependency = byName.get(name);
      if (dependency !== undefined && !ordered.has(dependency)) visit(dependency, new Set([...above, file.name]));
    }
    ordered.add(file);
  };
  for (const file of files) visit(file, new Set());
  return [...ordered];
}

async function askOne(channel: Channel, messageRequest: Question, deadline: number): Promise<Answer> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const stream = client.makeBidiStreamRequest(PATH, same, same, { deadline });
    stream.on('data', (bytes: Buffer) => {
      resolve(bytes);
      stream.cancel(); // one answer is enough: a stream that is left open keeps the process
    });
    stream.on('error', (error: ServiceError) => reject(failed(error)));
    stream.on('end', () => reject(new ChannelError('protocol', 'reflection ended without an answer')));
    stream.write(
      Buffer.from(toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest }))),
    );
    stream.end();
  });
  return reading(() => fromBinary(ServerReflectionResponseSchema, answer)).messageResponse;
}

/**
 * Runs a parser over an answer of a server, which may send anything. @throws ChannelError
 * `protocol`
 */
function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new ChannelError('protocol', `reflection: ${(cause as Error).message}`, { cause });
  }
}

function failed(cause: ServiceError): Error {
  if (cause.code !== status.DEADLINE_EXCEEDED) return cause;
  return new ChannelError('timeout', 'reflection did not answer in time', { cause });
}

function unexpected(answer: Answer): ChannelError {
  const said = answer.case === 'errorResponse' ? answer.value.errorMessage : `answer ${answer.case}`;
  return new ChannelError('protocol', `reflection: ${said}`);
}
