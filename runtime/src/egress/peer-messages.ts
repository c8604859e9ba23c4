/** Messages to and from subprocessors: their bytes, their labels, and the texts in them. */

import { type DescMessage, toBinary } from '@bufbuild/protobuf';
import { fromUtf8, utf8 } from '@enclaim/attestation/bytes';
import { ExactJson, type Label, labelOf, methodIdOf, type OutboundMethod } from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { Release } from '../admission/release-plan.ts';
import { jsonOf, reading } from '../message/decode.ts';
import { walkJson } from '../message/message-walk.ts';
import { leavesOf, textsOf, wireTextsOf } from '../message/searchable-text.ts';
import type { BytesMessage } from '../message/transcoder/messages.ts';
import { type Json, jsonText, parseWorkerText, type WorkerText } from '../worker/json-text.ts';
import type { Outgoing } from './departures.ts';

/** A handler's message to a subprocessor. */
export interface Outward {
  readonly bytes: Uint8Array;
  readonly label: Label;
  /** Texts in its fields and in its bytes. */
  readonly texts: readonly string[];
}

/** The types of messages that a boot admitted. */
type Types = Pick<Admission, 'messages' | 'descriptors'>;

/** Characters of an owner's name in a record. */
const MAX_OWNER_CHARS = 1024;

/**
 * A handler's message to a subprocessor, as it is sent.
 *
 * @throws RefusalError `request`
 */
export function outward({ messages, descriptors }: Types, { id, http }: OutboundMethod, text: WorkerText): Outward {
  const { input } = messages.ofOutbound(id);
  const { type } = input;
  const json = reading('request', type, () => parseWorkerText(text));
  if (http === 'none') {
    const { label, texts, bytes } = input.write(json, true);
    return { label, texts, bytes: bytes() };
  }
  const walk = { maker: 'request', type, registry: descriptors.registry, searched: true } as const;
  const { label, texts, json: sent } = walkJson(walk, json);
  return { label, texts, bytes: utf8(JSON.stringify(sent())) };
}

/**
 * An answer that came as JSON.
 *
 * @throws RefusalError `peer`
 */
export function answeredJson(
  { descriptors: { registry } }: Types,
  type: DescMessage,
  body: Uint8Array,
): Pick<BytesMessage, 'text' | 'label' | 'texts'> {
  // A field that the .proto does not declare has no category and goes no further.
  const message = reading('peer', type, () =>
    ExactJson.parse(fromUtf8(body)).toMessage(type, { registry, ignoreUnknownFields: true }),
  );
  const json = jsonOf('peer', type, message, registry);
  const label = reading('peer', type, () => labelOf(type, message));
  return { text: jsonText(json), label, texts: leavesOf(type, message, json, registry) };
}

/**
 * The built message of a release as it is sent, with the texts in it that detectors look at.
 *
 * @throws RefusalError `request`
 */
export function released(
  { descriptors: { registry } }: Types,
  { call, rule: { id, owner } }: Release,
  built: Json,
): Outgoing & { readonly leaves: readonly string[] } {
  const reason = `release ${id} of ${owner.slice(0, MAX_OWNER_CHARS)}`;
  if ('verb' in call) return { call, bytes: utf8(JSON.stringify(built)), reason, leaves: textsOf(built) };
  const { input } = call;
  const message = reading('request', input, () => new ExactJson(built).toMessage(input, { registry }));
  const bytes = toBinary(input, message);
  const json = jsonOf('request', input, message, registry);
  const leaves = [...leavesOf(input, message, json, registry), ...wireTextsOf(input, message)];
  return { call: methodIdOf(call), bytes, reason, leaves };
}
