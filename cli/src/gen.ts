/**
 * `enclaim gen`: TypeScript types of an app's handlers, from its .proto files and what its policy
 * grants each method.
 */

import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { compileProtos, findApp, writeWhole } from '@enclaim/image';
import { match, type Policy, readDescriptors } from '@enclaim/policy-schema';
import type { Declassification, ExposedMethod, MatchResult, StoredMessage } from '@enclaim/policy-schema/admission';
import type { Command } from 'commander';
import { readPolicyFile } from './policy/app.ts';
import { UsageError } from './usage-error.ts';

/** Adds `enclaim gen`. */
export function register(program: Command): void {
  program
    .command('gen')
    .description("write the types of an app's handlers: messages as proto3 JSON, and what each method was granted")
    .argument('[folder]', 'folder with policy.yaml, proto/ and handlers/', '.')
    .option('-o, --out <file>', 'where to write them, - for standard output (default: handlers/enclaim.d.ts)')
    .action(async (folder: string, { out = join(folder, 'handlers/enclaim.d.ts') }: { out?: string }) => {
      // The handlers are written with these types, and need not be there yet.
      const { policyFile, protoDir } = await findApp(folder, { handlersEntry: '' });
      const [policy, descriptors] = [await readPolicyFile(policyFile), readDescriptors(await compileProtos(protoDir))];
      const matched = match(descriptors, policy);
      const [error] = matched.errors;
      if (error !== undefined) throw new UsageError(`${error.pointer}: ${error.message}`);
      const types = handlerTypes(matched, policy);
      if (out === '-') {
        process.stdout.write(types);
        return;
      }
      await mkdir(dirname(out), { recursive: true });
      await writeWhole(out, Buffer.from(types));
      console.log(out);
    });
}

const FLOAT = "number | 'NaN' | 'Infinity' | '-Infinity'";

/** Names of JSON types by scalar: 64-bit numbers and bytes (base64) are text. */
const SCALARS: Readonly<Record<ScalarType, string>> = {
  [ScalarType.DOUBLE]: FLOAT,
  [ScalarType.FLOAT]: FLOAT,
  [ScalarType.INT64]: 'string',
  [ScalarType.UINT64]: 'string',
  [ScalarType.INT32]: 'number',
  [ScalarType.FIXED64]: 'string',
  [ScalarType.FIXED32]: 'number',
  [ScalarType.BOOL]: 'boolean',
  [ScalarType.STRING]: 'string',
  [ScalarType.BYTES]: 'string',
  [ScalarType.UINT32]: 'number',
  [ScalarType.SFIXED32]: 'number',
  [ScalarType.SFIXED64]: 'string',
  [ScalarType.SINT32]: 'number',
  [ScalarType.SINT64]: 'string',
};

/** Messages whose JSON is not an object of their fields. */
const WELL_KNOWN: Readonly<Record<string, string>> = {
  'google.protobuf.Timestamp': 'string',
  'google.protobuf.Duration': 'string',
  'google.protobuf.FieldMask': 'string',
  'google.protobuf.Empty': 'Readonly<Record<string, never>>',
  'google.protobuf.Struct': 'Readonly<Record<string, Json>>',
  'google.protobuf.Value': 'Json',
  'google.protobuf.ListValue': 'readonly Json[]',
  // An Any that holds nothing has no type either.
  'google.protobuf.Any': "Readonly<Record<string, Json>> & { readonly '@type'?: string }",
  'google.protobuf.DoubleValue': FLOAT,
  'google.protobuf.FloatValue': FLOAT,
  'google.protobuf.Int32Value': 'number',
  'google.protobuf.UInt32Value': 'number',
  'google.protobuf.Int64Value': 'string',
  'google.protobuf.UInt64Value': 'string',
  'google.protobuf.BoolValue': 'boolean',
  'google.protobuf.StringValue': 'string',
  'google.protobuf.BytesValue': 'string',
};

const PRELUDE = `/** Made by \`enclaim gen\`; not to be edited. Messages are proto3 JSON. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Offered to the handler by every call. */
export interface Call {
  /** When the call came in, RFC 3339: time stands still within a call. */
  now(): string;
  /** An identifier that the runtime made for this call. */
  readonly requestId: string;
  /** Puts an event on record in the evidence log: one that the policy names. */
  log(event: EventName, data?: Json): Promise<null>;
  readonly signal: {
    readonly aborted: boolean;
    addEventListener(type: 'abort', action: () => void): void;
    removeEventListener(type: 'abort', action: () => void): void;
  };
}

/** Statuses that a handler may end its call with; those that are not here are the runtime's. */
export type StatusCode =
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNAVAILABLE';

declare global {
  /** Thrown by a handler, it ends the call with this status, told where a response would be. */
  class StatusError extends Error {
    /** @param text for the caller, at most 256 characters */
    constructor(code: StatusCode, text?: string);
    readonly code: StatusCode;
  }
}

/**
 * Types of what collections hold, as the handlers declare them:
 * \`declare module './enclaim.d.ts' { interface Records { notes: Note } }\`.
 * A collection that is not named here holds any JSON, unless the policy names its message.
 */
export interface Records {}

/** Type of the values of a collection. */
export type Held<Name extends string> = Name extends keyof Records ? Records[Name] : Json;

/**
 * A collection that may be read. What is in it becomes part of what the call carries. \`W\`: the
 * searches that the policy declares indexes for.
 */
export interface Readable<T, W = never> {
  get(key: string): Promise<T | null>;
  /** The value with its version, on which a change can depend. */
  read(key: string): Promise<{ readonly value: T; readonly version: string } | null>;
  /** Keys, sorted by code unit: all, or a page of them. */
  list(page?: Page<W>): Promise<readonly string[]>;
}

/**
 * Keys that begin with \`prefix\` and sort behind \`after\`, at most \`limit\`; with \`where\`,
 * those of records whose field has that value.
 */
export interface Page<W = never> {
  readonly where?: W;
  readonly prefix?: string;
  readonly after?: string;
  readonly limit?: number;
}

/** A collection that may be written: all changes are made when the call has ended well, or none. */
export interface Writable<T> {
  put(key: string, value: T): Promise<null>;
  delete(key: string): Promise<null>;
}

/** A collection that may be read and written: if its value has a version, or (null) has none. */
export interface Changeable<T, W = never> extends Readable<T, W> {
  put(key: string, value: T, options?: { readonly ifVersion: string | null }): Promise<null>;
  delete(key: string, options?: { readonly ifVersion: string | null }): Promise<null>;
}
`;

/** The types of everything that the exposed methods have in reach. */
export function handlerTypes(matched: Pick<MatchResult, 'exposed' | 'outbound' | 'stored'>, policy: Policy): string {
  const { exposed, outbound, stored } = matched;
  const called = [...exposed, ...outbound].flatMap(({ descriptor: { input, output } }) => [input, output]);
  const types = new Types([...called, ...[...stored.values()].map(({ message }) => message)]);
  const handlers = exposed.map((method) => {
    const { descriptor, id } = method;
    const { methodKind, input, output } = descriptor;
    const [request, response] = [types.of(input), types.of(output)];
    const streamsIn = methodKind === 'client_streaming' || methodKind === 'bidi_streaming';
    const streamsOut = methodKind === 'server_streaming' || methodKind === 'bidi_streaming';
    const taken = streamsIn ? `AsyncIterable<${request}>` : request;
    const given = streamsOut ? `AsyncIterable<${response}>` : `Promise<${response}>`;
    return `  '${id}'(request: ${taken}, ctx: ${contextOf(method, matched, policy, types)}): ${given};`;
  });
  const events = (policy.evidence.events ?? []).map((name) => JSON.stringify(name));
  return [
    PRELUDE,
    `/** Events that the policy names (\`evidence.events\`). */\nexport type EventName = ${events.join(' | ') || 'never'};\n`,
    ...types.declared(),
    `/** The handlers of every method that the policy exposes. */\nexport interface Handlers {\n${handlers.join('\n')}\n}\n`,
  ].join('\n');
}

function contextOf(
  { id, rule }: ExposedMethod,
  { outbound, stored }: Pick<MatchResult, 'outbound' | 'stored'>,
  policy: Policy,
  types: Types,
): string {
  const names = [...new Set([...rule.reads, ...rule.stores])].sort();
  const collections = names.map((name) => {
    const held = heldIn(name, stored.get(name), types);
    const reads = rule.reads.includes(name);
    const kind = rule.stores.includes(name) ? (reads ? 'Changeable' : 'Writable') : 'Readable';
    const searches = reads ? searchesOf(stored.get(name), types) : '';
    return `readonly ${key(name)}: ${kind}<${held}${searches}>`;
  });
  const receivers = rule.sends.map((to) => {
    const methods = outbound
      .filter(({ subprocessor }) => subprocessor === to)
      .map(({ name, descriptor: { input, output } }) => {
        return `${key(name)}(message: ${types.of(input)}): Promise<${types.of(output)}>`;
      });
    return `readonly ${key(to)}: { ${methods.join('; ')} }`;
  });
  const releases = policy.declassify.filter(({ method }) => method === id).map(releaseOf);
  return [
    'Call',
    `{ readonly store: { ${collections.join('; ')} } }`,
    ...(receivers.length > 0 ? [`{ readonly call: { ${receivers.join('; ')} } }`] : []),
    ...(releases.length > 0 ? [`{ readonly release: { ${releases.join('; ')} } }`] : []),
  ].join(' & ');
}

/** The type of a collection's records. */
function heldIn(name: string, stored: StoredMessage | undefined, types: Types): string {
  return stored === undefined ? `Held<${JSON.stringify(name)}>` : types.of(stored.message);
}

/** The argument of a collection's type for searches, each of which is by one field alone. */
function searchesOf(stored: StoredMessage | undefined, types: Types): string {
  const fields = stored?.indexes.map(({ field }) => field) ?? [];
  const searches = fields.map((field) => {
    const others = fields.filter((other) => other !== field).map((other) => `readonly ${key(other.jsonName)}?: never`);
    return `{ ${[`readonly ${key(field.jsonName)}: ${types.single(field)}`, ...others].join('; ')} }`;
  });
  return searches.length === 0 ? '' : `, ${searches.join(' | ')}`;
}

/**
 * The type of a release, which the handler triggers. If the release takes fields of records, the
 * handler names those by their keys.
 */
function releaseOf({ id, build }: Declassification): string {
  const named = Object.values(build).flatMap((source) => /^\$record\.([^.]+)/.exec(source)?.[1] ?? []);
  const keys = [...new Set(named)].map((collection) => `readonly ${key(collection)}: string`);
  return `${key(id)}(${keys.length > 0 ? `keys: { ${keys.join('; ')} }` : ''}): Promise<null>`;
}

/** The types of messages, by names of which no two are alike and none is one of ours. */
class Types {
  readonly #names: ReadonlyMap<string, string>;
  readonly #declared = new Map<string, string>();

  /** @param roots messages that hold all other messages */
  constructor(roots: readonly DescMessage[]) {
    const reached = new Set(roots);
    // A set that grows is walked to its end.
    for (const { fields } of reached) {
      for (const { message } of fields) if (message !== undefined) reached.add(message);
    }
    const full = [...new Set([...reached].map(({ typeName }) => typeName))];
    const short = full.map((typeName) => typeName.replaceAll('.', '_'));
    this.#names = new Map(
      full.map((typeName, at) => {
        const name = short[at] ?? '';
        // No name in a .proto has a dollar. A name of one part could be one of TypeScript's, or of
        // the prelude's.
        const isPlain = typeName.includes('.') && short.indexOf(name) === short.lastIndexOf(name);
        return [typeName, isPlain ? name : `.${typeName}`.replaceAll('.', '$')];
      }),
    );
  }

  /** The type of a message, which is declared with all that it holds. */
  of(message: DescMessage): string {
    const known = WELL_KNOWN[message.typeName];
    if (known !== undefined) return known;
    const name = this.#names.get(message.typeName) ?? 'Json';
    if (!this.#declared.has(name)) {
      this.#declared.set(name, ''); // before its fields: it may hold itself
      const fields = message.fields.map((field) => {
        return `  readonly ${key(field.jsonName)}?: ${this.#field(field)}${inherited(field.jsonName)};`;
      });
      // Not an interface: an interface has no index signature, so that no message would be a
      // `Json`, and none could be stored.
      this.#declared.set(name, `/** ${message.typeName} */\nexport type ${name} = {\n${fields.join('\n')}\n};\n`);
    }
    return name;
  }

  /** The declarations, in the order in which they were asked for. */
  declared(): Iterable<string> {
    return this.#declared.values();
  }

  /** The type of one value of a field. */
  single(field: DescField): string {
    if (field.message !== undefined) return this.of(field.message);
    if (field.enum !== undefined) return enumType(field.enum);
    return field.scalar === undefined ? 'Json' : SCALARS[field.scalar];
  }

  #field(field: DescField): string {
    const single = this.single(field);
    if (field.fieldKind === 'list') return `readonly (${single})[]`;
    return field.fieldKind === 'map' ? `Readonly<Record<string, ${single}>>` : single;
  }
}

/** In JSON a value of an open enum that has no name is its number. */
function enumType({ typeName, values, open }: DescEnum): string {
  if (typeName === 'google.protobuf.NullValue') return 'null';
  const names = values.map(({ name }) => `'${name}'`);
  return [...names, ...(open ? ['number'] : [])].join(' | ');
}

/** The name of a member. A method of the plain name `new` would be a constructor. */
function key(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && name !== 'new' ? name : JSON.stringify(name);
}

/**
 * The type of a member that every object inherits under a name. A message that lacks the field has
 * that member.
 */
function inherited(name: string): string {
  return /^[a-z]/i.test(name) && Object.hasOwn(Object.prototype, name) ? ` | Object['${name}']` : '';
}
