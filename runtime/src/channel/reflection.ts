/**
 * grpc.reflection.v1.ServerReflection over the exposed methods; a withheld method is not visible.
 * v1alpha has the same messages on the wire.
 */

import {
  create,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type DescService,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { RequestError } from '@enclaim/attestation/grpc-request';
import { Log } from '@enclaim/attestation/log-service';
import { type ExposedMethod, registryOf } from '@enclaim/policy-schema/admission';
import { file_google_rpc_error_details } from '../gen/google/rpc/error_details_pb.js';
import { file_google_rpc_status } from '../gen/google/rpc/status_pb.js';
import { Health } from '../gen/grpc/health/v1/health_pb.js';
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from '../gen/grpc/reflection/v1/reflection_pb.js';
import { STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';
import { serveSmall, smallRequest } from './small-requests.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/** Bytes of the files in one answer. Clients take 4 MiB in a message by default. */
const MAX_FILES_BYTES = 1024 * 1024;
const NOWHERE: Answer = refusal(STATUS.notFound, 'no such file or symbol is exposed');

/** Reflection over the files that exposed methods need, with every other method cut out of them. */
export class ReflectionService {
  readonly #services: readonly string[];
  /** The visible part of each file. */
  readonly #files = new Map<string, { readonly file: DescFile; readonly bytes: Uint8Array }>();
  readonly #fileOfSymbol = new Map<string, string>();
  /** Files of extensions, by the type that they extend and by number. */
  readonly #extensions = new Map<string, Map<number, string>>();

  /** @param beside services of the runtime that not every policy has */
  constructor(exposed: readonly ExposedMethod[], beside: readonly DescService[] = []) {
    const methods = new Set(exposed.map(({ descriptor }) => `${descriptor.parent.typeName}.${descriptor.name}`));
    this.#services = [...new Set(exposed.map(({ descriptor }) => descriptor.parent.typeName))].sort();
    for (const { descriptor } of exposed) this.#add(descriptor.parent.file, methods);
    // An `Any` may carry any declared message, imported by a service or not.
    const carriers = exposed.flatMap(({ descriptor }) => anyWithin([descriptor.input, descriptor.output]) ?? []);
    for (const carrier of carriers) for (const file of registryOf(carrier)?.files ?? []) this.#add(file, methods);
    // Details of the runtime's own refusals.
    for (const file of [file_google_rpc_status, file_google_rpc_error_details]) this.#add(file, methods);
    // Services that no policy exposes and that are answered all the same.
    for (const { file, typeName, methods: all } of [Health, Log, ServerReflection, ...beside]) {
      const names = [typeName, ...all.map(({ name }) => `${typeName}.${name}`)];
      this.#add(file, new Set(names));
      for (const name of names) this.#fileOfSymbol.set(name, file.proto.name);
    }
  }

  /** The service, with its path and with the one that older clients use. */
  get methods(): (readonly [string, ServedMethod])[] {
    const [path, method] = servedMethod(ServerReflection.method.serverReflectionInfo, (call) =>
      serveSmall(call, () => this.#converse(call)),
    );
    return [
      [path, method],
      [path.replace('.v1.', '.v1alpha.'), method],
    ];
  }

  /**
   * Answers question after question.
   *
   * **Bound**: an answer is many times its question, so no further question is read until the
   * client took nearly all of the last answer.
   */
  async #converse(call: GrpcCall): Promise<void> {
    const sent = new Set<string>();
    for (let question = await call.next(); question !== undefined; question = await call.next())
      await call.send(this.#respond(question, sent));
    call.end({ status: STATUS.ok });
  }

  /** @param sent files that the stream has been given; grows */
  #respond(bytes: Uint8Array, sent: Set<string>): Uint8Array {
    let originalRequest: ServerReflectionRequest | undefined;
    let messageResponse: Answer;
    try {
      originalRequest = smallRequest(ServerReflectionRequestSchema, bytes);
      messageResponse = this.#answer(originalRequest.messageRequest, sent);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      messageResponse = refusal(error.status, error.message);
    }
    const response = create(ServerReflectionResponseSchema, {
      validHost: originalRequest?.host ?? '',
      ...(originalRequest && { originalRequest }),
      messageResponse,
    });
    return toBinary(ServerReflectionResponseSchema, response);
  }

  #answer(request: ServerReflectionRequest['messageRequest'], sent: Set<string>): Answer {
    switch (request.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: this.#services.map((name) => ({ name })) } };
      case 'fileByFilename':
        return this.#fileAndMore(request.value, sent);
      case 'fileContainingSymbol':
        return this.#fileAndMore(this.#fileOfSymbol.get(request.value) ?? '', sent);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = request.value;
        return this.#fileAndMore(this.#extensions.get(containingType)?.get(extensionNumber) ?? '', sent);
      }
      case 'allExtensionNumbersOfType': {
        const found = this.#extensions.get(request.value);
        if (found === undefined && !this.#fileOfSymbol.has(request.value)) return NOWHERE;
        const value = { baseTypeName: request.value, extensionNumber: [...(found?.keys() ?? [])] };
        return { case: 'allExtensionNumbersResponse', value };
      }
      default:
        return refusal(STATUS.unimplemented, `${request.case ?? 'an empty request'} is not answered here`);
    }
  }

  /**
   * A file, and of its imports as many as fit and the stream was not given yet. Clients ask by name
   * for any that are missing.
   *
   * **Bound**: without this, a file that is asked for again and again would be answered with all
   * its imports each time, and an answer could be too large for its client.
   */
  #fileAndMore(name: string, sent: Set<string>): Answer {
    const found = this.#files.get(name);
    if (found === undefined) return NOWHERE;
    if (found.bytes.length > MAX_FILES_BYTES)
      return refusal(STATUS.resourceExhausted, 'the file is too large for an answer');
    const fileDescriptorProto = [found.bytes];
    let size = found.bytes.length;
    sent.add(name);
    const names = new Set([name]);
    // Iterating over a set also visits names that are added meanwhile.
    for (const each of names) {
      const { file, bytes } = this.#files.get(each) ?? found;
      if (!sent.has(each)) {
        if (size + bytes.length > MAX_FILES_BYTES) continue;
        fileDescriptorProto.push(bytes);
        size += bytes.length;
        sent.add(each);
      }
      for (const { proto } of file.dependencies) names.add(proto.name);
    }
    return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  }

  #add(file: DescFile, methods: ReadonlySet<string>): void {
    const { name } = file.proto;
    if (this.#files.has(name)) return;
    this.#files.set(name, { file, bytes: toBinary(FileDescriptorProtoSchema, exposedPart(file, methods)) });
    const symbols = [
      ...file.services
        .flatMap(({ typeName, methods: all }) => [typeName, ...all.map(({ name: method }) => `${typeName}.${method}`)])
        .filter((symbol) => methods.has(symbol) || this.#services.includes(symbol)),
      ...file.messages.flatMap(namesWithin),
      ...file.enums.map((each) => each.typeName),
    ];
    const extensions = [...file.extensions, ...file.messages.flatMap(extensionsWithin)];
    for (const { typeName, number, extendee } of extensions) {
      symbols.push(typeName);
      const numbers = this.#extensions.get(extendee.typeName) ?? new Map<number, string>();
      this.#extensions.set(extendee.typeName, numbers.set(number, name));
    }
    for (const symbol of symbols) this.#fileOfSymbol.set(symbol, name);
    for (const dependency of file.dependencies) this.#add(dependency, methods);
  }
}

/** A file with only the exposed methods in its services, and no service without one. */
function exposedPart(file: DescFile, methods: ReadonlySet<string>): FileDescriptorProto {
  const { proto } = file;
  const service = proto.service
    .map((each) => ({
      ...each,
      method: each.method.filter(({ name }) =>
        methods.has(`${proto.package === '' ? '' : `${proto.package}.`}${each.name}.${name}`),
      ),
    }))
    .filter(({ method }) => method.length > 0);
  const { sourceCodeInfo: _, ...rest } = proto;
  return create(FileDescriptorProtoSchema, { ...rest, service });
}

/** The type of an `Any` that messages of these types can hold, if one is in reach. */
function anyWithin(types: readonly DescMessage[]): DescMessage | undefined {
  const reached = new Set(types);
  for (const type of reached) {
    if (type.typeName === 'google.protobuf.Any') return type;
    for (const { message } of type.fields) if (message !== undefined) reached.add(message);
  }
  return undefined;
}

function namesWithin(message: DescMessage): string[] {
  return [
    message.typeName,
    ...message.nestedMessages.flatMap(namesWithin),
    ...message.nestedEnums.map((each) => each.typeName),
  ];
}

function extensionsWithin({ nestedExtensions, nestedMessages }: DescMessage): DescExtension[] {
  return [...nestedExtensions, ...nestedMessages.flatMap(extensionsWithin)];
}

function refusal(errorCode: number, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}
