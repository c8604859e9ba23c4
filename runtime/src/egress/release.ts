/** Declassification as data: messages that the runtime itself builds, of which a handler can say no more than "now". */

import type { DescField, DescMessage, DescMethod, Message } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { toBase64 } from '@enclaim/attestation/bytes';
import {
  type Declassification,
  type Descriptors,
  type ExposedMethod,
  findMethod,
  type HttpCall,
  type Policy,
  parseHttpCall,
} from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Json } from '../worker/protocol.ts';

/** A rule of declassification, ready to be used. */
export interface Release {
  readonly rule: Declassification;
  /** What is called: a path, or a method whose request the message is. */
  readonly call: HttpCall | DescMethod;
  /** Collections of which it takes a record that the handler names. */
  readonly collections: readonly string[];
}

/** The parts that a built message has. */
export type Built = Readonly<Record<string, string | number | boolean>>;

/**
 * The rules of exposed methods by id.
 * @throws RefusalError `descriptors` where a rule calls a method that the descriptors lack, which matching has said before
 */
export function planReleases(
  { declassify }: Policy,
  descriptors: Descriptors,
  exposed: readonly ExposedMethod[],
): ReadonlyMap<string, Release> {
  const planned = declassify.filter(({ method }) => exposed.some(({ id }) => id === method));
  return new Map(
    planned.map((rule) => {
      const call = parseHttpCall(rule.call) ?? findMethod(descriptors, rule.call);
      if (call === undefined)
        throw new RefusalError('descriptors', `release ${rule.id} calls ${rule.call}, which is not there`);
      const collections = Object.values(rule.build).flatMap((source) => {
        const [root, collection] = source.split('.');
        return root === '$record' && collection !== undefined ? [collection] : [];
      });
      return [rule.id, { rule, call, collections: [...new Set(collections)] }];
    }),
  );
}

/**
 * Builds the message of a release.
 * @param request the message that the caller sent first
 * @param recordOf the record of a collection that the handler named
 * @throws RefusalError `request` where something that the rule names is not there
 */
export function build(
  { rule }: Release,
  request: { readonly descriptor: DescMessage; readonly message: Message } | undefined,
  recordOf: (collection: string) => Json,
): Built {
  return Object.fromEntries(
    Object.entries(rule.build).map(([name, source]) => {
      const [root, ...path] = source.split('.');
      let value: string | number | boolean | undefined;
      if (root === '$request') value = request && inMessage(request.descriptor, request.message, path);
      else if (root === '$record') value = inRecord(recordOf(path[0] ?? ''), path.slice(1));
      else value = source;
      if (value === undefined) throw new RefusalError('request', `release ${rule.id} needs ${source}`);
      return [name, value];
    }),
  );
}

/** The single value at the end of a way of field names, where it was sent. */
function inMessage(
  descriptor: DescMessage,
  message: Message,
  path: readonly string[],
): string | number | boolean | undefined {
  let at = reflect(descriptor, message);
  for (const [index, step] of path.entries()) {
    const field: DescField | undefined = at.fields.find(({ name }) => name === step);
    if (field === undefined || !at.isSet(field)) return undefined;
    if (field.fieldKind === 'message') at = at.get(field);
    else if (index < path.length - 1) return undefined;
    else if (field.fieldKind === 'scalar') return plain(at.get(field));
    else return field.fieldKind === 'enum' ? Number(at.get(field)) : undefined;
  }
  return undefined;
}

function plain(value: string | number | bigint | boolean | Uint8Array): string | number | boolean {
  if (value instanceof Uint8Array) return toBase64(value);
  return typeof value === 'bigint' ? String(value) : value;
}

/** The same in what a handler stored. */
function inRecord(record: Json, path: readonly string[]): string | number | boolean | undefined {
  let at: Json | undefined = record;
  for (const step of path) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, step)) return undefined;
    at = (at as Readonly<Record<string, Json>>)[step];
  }
  return typeof at === 'string' || typeof at === 'number' || typeof at === 'boolean' ? at : undefined;
}
