/**
 * Compiled protos: a FileDescriptorSet with imports and source positions, as `buf build` makes it.
 */

import {
  createFileRegistry,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { refuse } from '../error.ts';
import type { MethodId } from '../policy.ts';

/** Bytes that a descriptor set may have. */
export const MAX_DESCRIPTOR_BYTES: number = 8 * 1024 * 1024;

/** A descriptor set that was read whole. */
export interface Descriptors {
  readonly registry: FileRegistry;
  readonly bytes: Uint8Array;
}

/**
 * A place in a .proto file, 1-based. Columns are the compiler's: those of a terminal with tab stops
 * of four.
 */
export interface ProtoPlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/**
 * Reads a descriptor set.
 * @throws PolicyError `size`; `descriptor` if it is not one, lacks an import, or names two things
 *   alike
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { readDescriptors } from '@enclaim/policy-schema';
 * import { servicesOf } from '@enclaim/policy-schema/admission';
 *
 * const descriptors = readDescriptors(await readFile('descriptors.binpb')); // by buf build
 * for (const { typeName } of servicesOf(descriptors)) console.log(typeName);
 * ```
 */
export function readDescriptors(bytes: Uint8Array): Descriptors {
  if (bytes.length > MAX_DESCRIPTOR_BYTES) {
    throw refuse('size', `${bytes.length} bytes of descriptors where ${MAX_DESCRIPTOR_BYTES} are allowed`);
  }
  let registry: FileRegistry;
  try {
    const set = fromBinary(FileDescriptorSetSchema, bytes);
    // The registry would keep the last of two; another reader may keep the first.
    if (new Set(set.file.map(({ name }) => name)).size !== set.file.length)
      throw new Error('a file stands in it twice');
    registry = createFileRegistry(set);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw refuse('descriptor', `not a set of descriptors with its imports: ${why}`, '', { cause });
  }
  refuseAmbiguity(registry);
  for (const file of registry.files) registries.set(file, registry);
  return { registry, bytes };
}

/**
 * All that {@link readDescriptors} read together with a message: the types that an Any within it
 * may hold. Undefined for a message that it did not read.
 */
export function registryOf({ file }: DescMessage): FileRegistry | undefined {
  return registries.get(file);
}

const registries: WeakMap<DescFile, FileRegistry> = new WeakMap();

/**
 * Every service, in the order of the files.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { readDescriptors } from '@enclaim/policy-schema';
 * import { servicesOf } from '@enclaim/policy-schema/admission';
 *
 * const descriptors = readDescriptors(await readFile('descriptors.binpb')); // by buf build
 * for (const { typeName, methods } of servicesOf(descriptors))
 *   console.log(typeName, methods.length);
 * ```
 */
export function servicesOf({ registry }: Descriptors): DescService[] {
  return [...registry.files].flatMap(({ services }) => services);
}

/**
 * The full name of a method.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { readDescriptors } from '@enclaim/policy-schema';
 * import { methodIdOf, servicesOf } from '@enclaim/policy-schema/admission';
 *
 * const descriptors = readDescriptors(await readFile('descriptors.binpb')); // by buf build
 * for (const { methods } of servicesOf(descriptors)) console.log(methods.map(methodIdOf));
 * ```
 */
export function methodIdOf(method: DescMethod): MethodId {
  return `${method.parent.typeName}/${method.name}`;
}

/** The method of a full name, of any service. */
export function findMethod(descriptors: Descriptors, id: string): DescMethod | undefined {
  return servicesOf(descriptors)
    .flatMap(({ methods }) => methods)
    .find((method) => methodIdOf(method) === id);
}

/** Where a method or a field is declared; absent if the set was compiled without positions. */
export function placeOfDeclaration(declared: DescMethod | DescField): ProtoPlace | undefined {
  const file = declared.parent.file;
  const [line, column] = spansOf(file).get(pathOf(declared).join('.')) ?? [];
  if (line === undefined || column === undefined) return undefined;
  return { file: `${file.name}.proto`, line: line + 1, column: column + 1 };
}

const spans: WeakMap<DescFile, ReadonlyMap<string, readonly number[]>> = new WeakMap();

function spansOf(file: DescFile): ReadonlyMap<string, readonly number[]> {
  const known = spans.get(file);
  if (known) return known;
  const made = new Map((file.proto.sourceCodeInfo?.location ?? []).map(({ path, span }) => [path.join('.'), span]));
  spans.set(file, made);
  return made;
}

/**
 * Path of a declaration within its FileDescriptorProto (descriptor.proto,
 * SourceCodeInfo.Location.path).
 */
function pathOf(declared: DescMethod | DescField | DescMessage | DescService): number[] {
  const index = (list: readonly unknown[]): number => list.indexOf(declared.proto);
  switch (declared.kind) {
    case 'service':
      return [6, index(declared.file.proto.service)];
    case 'rpc':
      return [...pathOf(declared.parent), 2, index(declared.parent.proto.method)];
    case 'field':
      return [...pathOf(declared.parent), 2, index(declared.parent.proto.field)];
    case 'message':
      return declared.parent
        ? [...pathOf(declared.parent), 3, index(declared.parent.proto.nestedType)]
        : [4, index(declared.file.proto.messageType)];
  }
}

/**
 * Refuses names of one message that differ in the .proto and meet in use: in JSON, or as members of
 * an object (`user_info` and `userInfo`, a field and a oneof among them). Without this, one of two
 * such values would be lost without a word.
 */
function refuseMeetings({ typeName, fields, members, oneofs }: DescMessage): void {
  const meet = (where: string, names: Iterable<readonly [name: string, of: string]>): void => {
    const owners = new Map<string, string>();
    for (const [name, of] of names) {
      const owner = owners.get(name) ?? of;
      if (owner !== of)
        throw refuse('descriptor', `${owner} and ${of} of ${typeName} have one name ${where}: "${name}"`);
      owners.set(name, of);
    }
  };
  meet(
    'in JSON',
    // A reader of JSON takes a field by either.
    fields.flatMap(({ name, jsonName }) => [[jsonName, name] as const, [name, name] as const]),
  );
  for (const named of [members, ...oneofs.map((oneof) => oneof.fields)]) {
    meet(
      'in camelCase',
      named.map(
        (member) => [member.localName, member.kind === 'oneof' ? `oneof ${member.name}` : member.name] as const,
      ),
    );
  }
}

/**
 * Refuses two things of one name. Without this, a reader by name would see another thing than a
 * reader by reference.
 */
function refuseAmbiguity(registry: FileRegistry): void {
  const seen = new Set<string>();
  const claim = (name: string): void => {
    if (seen.has(name)) throw refuse('descriptor', `${name} is declared twice`);
    seen.add(name);
  };
  const visit = ({ messages, enums }: Pick<DescFile, 'messages' | 'enums'>): void => {
    for (const { typeName } of enums) claim(typeName);
    for (const message of messages) {
      claim(message.typeName);
      for (const { name } of message.fields) claim(`${message.typeName}.${name}`);
      refuseMeetings(message);
      visit({ messages: message.nestedMessages, enums: message.nestedEnums });
    }
  };
  for (const file of registry.files) {
    visit(file);
    for (const service of file.services) {
      claim(service.typeName);
      for (const method of service.methods) claim(methodIdOf(method));
    }
  }
}
