/** Descriptors of what a server exposes, asked over a channel that has shown its evidence. */

import {
  create,
  createFileRegistry,
  type FileRegistry,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type ChannelInterface as Channel, Client, credentials } from '@grpc/grpc-js';
import { ChannelError } from './errors.ts';
import {
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from './gen/grpc/reflection/v1/reflection_pb.js';

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest']>;
const PATH = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';

/** The services that a server exposes, and a registry of everything they need. @throws ChannelError `protocol` */
export async function describeServices(
  channel: Channel,
): Promise<{ services: readonly string[]; registry: FileRegistry }> {
  const listed = await ask(channel, { case: 'listServices', value: '' });
  if (listed.case !== 'listServicesResponse') throw unexpected(listed);
  const services = listed.value.service.map(({ name }) => name);
  const files = new Map<string, Uint8Array>();
  for (const name of services) {
    const found = await ask(channel, { case: 'fileContainingSymbol', value: name });
    if (found.case !== 'fileDescriptorResponse') throw unexpected(found);
    for (const bytes of found.value.fileDescriptorProto)
      files.set(fromBinary(FileDescriptorProtoSchema, bytes).name, bytes);
  }
  const file = [...files.values()].map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  return { services, registry: createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(file) })) };
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

function ask(channel: Channel, messageRequest: Question): Promise<ServerReflectionResponse['messageResponse']> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    const stream = client.makeBidiStreamRequest(PATH, same, same);
    stream.on('data', (bytes: Buffer) => resolve(fromBinary(ServerReflectionResponseSchema, bytes).messageResponse));
    stream.on('error', reject);
    stream.on('end', () => reject(new ChannelError('protocol', 'reflection ended without an answer')));
    stream.write(
      Buffer.from(toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest }))),
    );
    stream.end();
  });
}

function unexpected(answer: ServerReflectionResponse['messageResponse']): ChannelError {
  const said = answer.case === 'errorResponse' ? answer.value.errorMessage : `answer ${answer.case}`;
  return new ChannelError('protocol', `reflection: ${said}`);
}
