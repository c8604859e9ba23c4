/**
 * The reference for messages of untrusted makers: each is decoded as a whole, and then walked over
 * for its label, for its JSON and for the texts that detectors see.
 */

import { type BinaryReadOptions, type DescMessage, type Message, type Registry, toBinary } from '@bufbuild/protobuf';
import { ExactJson, type Label, labelOf } from '@enclaim/policy-schema/admission';
import type { Json } from '../worker/json-text.ts';
import { decoded, jsonOf, type Maker, reading } from './decode.ts';
import { leavesOf, wireTextsOf } from './searchable-text.ts';

/** A message that came as bytes. */
export interface WalkedBytes {
  readonly message: Message;
  readonly json: Json;
  /** Categories of its populated fields. */
  readonly label: Label;
  /** Texts in its fields, in any order; empty if they were not asked for. */
  readonly texts: readonly string[];
}

/** A message that a handler made as JSON. */
export interface WalkedJson {
  /** Categories of its populated fields. */
  readonly label: Label;
  /** Texts in its fields and in its bytes; empty if they were not asked for. */
  readonly texts: readonly string[];
  /** Encodes it. @throws Error if it cannot be: a field of proto2 that must be there is not */
  readonly bytes: () => Uint8Array;
  /** It as protobuf writes it as JSON. @throws RefusalError of its maker */
  readonly json: () => Json;
}

/** Types of messages, and who makes them. */
export interface WalkOptions {
  readonly maker: Maker;
  readonly type: DescMessage;
  /** Types that a message may hold in an `Any`. */
  readonly registry: Registry;
  /** Whether detectors see its texts. */
  readonly searched: boolean;
}

/**
 * Reads a message from its bytes. Of a subprocessor's, fields that no .proto declares are left out;
 * a caller's is refused for them.
 *
 * @throws RefusalError of its maker
 */
export function walkBytes({ maker, type, registry, searched }: WalkOptions, bytes: Uint8Array): WalkedBytes {
  const options: Partial<BinaryReadOptions> = maker === 'peer' ? { readUnknownFields: false } : {};
  const message = decoded(maker, type, bytes, registry, options);
  const label = reading(maker, type, () => labelOf(type, message));
  const json = jsonOf(maker, type, message, registry);
  return { message, json, label, texts: searched ? leavesOf(type, message, json, registry) : [] };
}

/**
 * Reads a message from a handler's JSON.
 *
 * @param json result of `JSON.parse`
 * @throws RefusalError of its maker
 */
export function walkJson({ maker, type, registry, searched }: WalkOptions, json: Json): WalkedJson {
  const message = reading(maker, type, () =>
    new ExactJson(json).toMessage(type, {
      registry,
      ignoreUnknownFields: /* layer: messages of their type (off: true) */ false,
    }),
  );
  const label = reading(maker, type, () => labelOf(type, message));
  const made = { label, bytes: () => toBinary(type, message), json: () => jsonOf(maker, type, message, registry) };
  if (!searched) return { ...made, texts: [] };
  // JSON can write one number in many ways, of which the receiver sees one: detectors look at that
  // one.
  const texts = [
    ...leavesOf(type, message, /* layer: answers looked at as they leave (off: json) */ made.json(), registry),
    ...wireTextsOf(type, message),
  ];
  return { ...made, texts };
}
