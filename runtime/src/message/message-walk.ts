/**
 * The reference for messages of untrusted makers: each is decoded as a whole, and then walked over
 * for its label, for its JSON and for the texts that detectors see.
 */

import { type DescMessage, type Message, type Registry, toBinary } from '@bufbuild/protobuf';
import { ExactJson, type Label, labelOf } from '@enclaim/policy-schema/admission';
import type { Json } from '../worker/protocol.ts';
import { decoded, jsonOf, reading } from './decode.ts';
import { leavesOf, wireTextsOf } from './searchable-text.ts';

/** A message that was read from the wire. */
export interface WalkedRequest {
  readonly message: Message;
  readonly json: Json;
  readonly label: Label;
  /** Texts in its fields, in any order; empty if they were not asked for. */
  readonly texts: readonly string[];
}

/** A message that a handler made. */
export interface WalkedResponse {
  readonly label: Label;
  /** Texts in its fields and in its bytes. */
  readonly texts: readonly string[];
  /** Encodes it. @throws Error if it cannot be: a field of proto2 that must be there is not */
  readonly bytes: () => Uint8Array;
}

/**
 * Reads a request.
 *
 * @param registry types that it may hold in an `Any`
 * @param searched whether detectors see its texts
 * @throws RefusalError `request`
 */
export function walkRequest(
  type: DescMessage,
  bytes: Uint8Array,
  registry: Registry,
  searched: boolean,
): WalkedRequest {
  const message = decoded('request', type, bytes, registry);
  const label = reading('request', type, () => labelOf(type, message));
  const json = jsonOf('request', type, message, registry);
  return { message, json, label, texts: searched ? leavesOf(type, message, json, registry) : [] };
}

/**
 * Reads what a handler answered with.
 *
 * @param json result of `JSON.parse`
 * @throws RefusalError `response`
 */
export function walkResponse(type: DescMessage, json: Json, registry: Registry, searched: boolean): WalkedResponse {
  const message = reading('response', type, () =>
    new ExactJson(json).toMessage(type, { registry, ignoreUnknownFields: false }),
  );
  const label = reading('response', type, () => labelOf(type, message));
  const bytes = (): Uint8Array => toBinary(type, message);
  if (!searched) return { label, texts: [], bytes };
  // JSON can write one number in many ways, of which the caller sees one: detectors look at that
  // one.
  const seen = jsonOf('response', type, message, registry);
  return { label, texts: [...leavesOf(type, message, seen, registry), ...wireTextsOf(type, message)], bytes };
}
