/**
 * Declassification as data: messages that the runtime itself builds. A handler can only choose that
 * one is sent, and when.
 */

import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { toBase64 } from '@enclaim/attestation/bytes';
import type { Release } from '../admission/release-plan.ts';
import { RefusalError } from '../errors.ts';
import type { Json } from '../worker/json-text.ts';

/** The parts of a built message. */
export type Built = Readonly<Record<string, string | number | boolean>>;

/**
 * Builds the message of a release.
 *
 * @param request the message that the caller sent first
 * @param recordOf the record of a collection that the handler named
 * @throws RefusalError `request` if something that the rule names is missing
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

/** The single value at the end of a path of field names, if it was sent. */
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

/** The same in a record that a handler stored. */
function inRecord(record: Json, path: readonly string[]): string | number | boolean | undefined {
  let at: Json | undefined = record;
  for (const step of path) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, step)) return undefined;
    at = (at as Readonly<Record<string, Json>>)[step];
  }
  return typeof at === 'string' || typeof at === 'number' || typeof at === 'boolean' ? at : undefined;
}
