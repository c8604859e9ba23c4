/** grpc.reflection.v1.ServerReflection, and v1alpha, whose messages are the same on the wire, over what is exposed: a withheld method is not to be seen. */

import {
  create,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { ExposedMethod } from '@enclaim/policy-schema/admission';
import type { ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Health } from './gen/grpc/health/v1/health_pb.js';
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from './gen/grpc/reflection/v1/reflection_pb.js';
import { type RawService, rawService } from './raw-service.ts';
import { RequestError, smallRequest } from './small-requests.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

const NOT_FOUND = 5;
const UNIMPLEMENTED = 12;

/** Reflection over the files that exposed methods need, with every other method cut out of them. */
export class ReflectionService {
  readonly #services: readonly string[];
  readonly #files = new Map<string, { readonly file: DescFile; readonly bytes: Uint8Array }>();
  readonly #fileOfSymbol = new Map<string, string>();
  /** Files of extensions by the type that they extend and by number. */
  readonly #extensions = new Map<string, Map<number, string>>();

  constructor(exposed: readonly ExposedMethod[]) {
    const methods = new Set(exposed.map(({ descriptor }) => `${descriptor.parent.typeName}.${descriptor.name}`));
    this.#services = [...new Set(exposed.map(({ descriptor }) => descriptor.parent.typeName))].sort();
    for (const { descriptor } of exposed) this.#add(descriptor.parent.file, methods);
    // Not exposed by a policy, and answered all the same.
    for (const { file, typeName, methods: all } of [Health, ServerReflection]) {
      const names = [typeName, ...all.map(({ name }) => `${typeName}.${name}`)];
      this.#add(file, new Set(names));
      for (const name of names) this.#fileOfSymbol.set(name, file.proto.name);
    }
  }

  get definition(): RawService {
    return rawService(ServerReflection);
  }

  /** The same under the name that older clients ask for. */
  get olderDefinition(): RawService {
    const older = ([name, method]: [string, RawService[string]]): [string, RawService[string]] => [
      name,
      { ...method, path: method.path.replace('.v1.', '.v1alpha.') },
    ];
    return Object.fromEntries(Object.entries(this.definition).map(older));
  }

  get implementation(): UntypedServiceImplementation {
    return {
      ServerReflectionInfo: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (bytes: Buffer) => {
          call.pause(); // an answer is many times its question: nobody is asked for more who has not taken the last
          call.write(this.#respond(bytes), () => call.resume());
        });
        call.on('end', () => call.end());
        call.on('error', () => {});
      },
    };
  }

  #respond(bytes: Uint8Array): Buffer {
    let originalRequest: ServerReflectionRequest | undefined;
    let messageResponse: Answer;
    try {
      originalRequest = smallRequest(ServerReflectionRequestSchema, bytes);
      messageResponse = this.#answer(originalRequest.messageRequest);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      messageResponse = refusal(error.code, error.message);
    }
    const response = create(ServerReflectionResponseSchema, {
      validHost: originalRequest?.host ?? '',
      ...(originalRequest && { originalRequest }),
      messageResponse,
    });
    return Buffer.from(toBinary(ServerReflectionResponseSchema, response));
  }

  #answer(request: ServerReflectionRequest['messageRequest']): Answer {
    switch (request.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: this.#services.map((name) => ({ name })) } };
      case 'fileByFilename':
        return this.#closure(request.value);
      case 'fileContainingSymbol':
        return this.#closure(this.#fileOfSymbol.get(request.value) ?? '');
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = request.value;
        return this.#closure(this.#extensions.get(containingType)?.get(extensionNumber) ?? '');
      }
      case 'allExtensionNumbersOfType': {
        const found = this.#extensions.get(request.value);
        if (found === undefined && !this.#fileOfSymbol.has(request.value)) return this.#closure('');
        const value = { baseTypeName: request.value, extensionNumber: [...(found?.keys() ?? [])] };
        return { case: 'allExtensionNumbersResponse', value };
      }
      default:
        return refusal(UNIMPLEMENTED, `${request.case ?? 'an empty request'} is not answered here`);
    }
  }

  /** A file with everything it imports, so that one answer is enough. */
  #closure(name: string): Answer {
    const found = this.#files.get(name);
    if (found === undefined) return refusal(NOT_FOUND, 'no such file or symbol is exposed');
    const names = new Set([name]);
    // A set goes on over what is added to it on the way.
    for (const each of names) {
      for (const { proto } of this.#files.get(each)?.file.dependencies ?? []) names.add(proto.name);
    }
    const fileDescriptorProto = [...names].flatMap((each) => this.#files.get(each)?.bytes ?? []);
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
