/** Messages between runtime and worker as tests write and read them: `json` is the value that a message carries. */

import { encodeTextFrame } from '../../runtime/src/frames.ts';
import type { JsonText, WorkerText } from '../../runtime/src/worker/json-text.ts';
import { MAX_FRAME_BYTES, VALUE_MARK } from '../../runtime/src/worker/protocol.ts';

/** A message, and perhaps the value that it carries. */
export interface Said {
  readonly kind: string;
  readonly json?: unknown;
  readonly [member: string]: unknown;
}

/** The text of a message, whatever it says. */
export function written({ json, ...members }: Said): string {
  const text = JSON.stringify(members);
  return json === undefined ? text : `${text}${VALUE_MARK}${JSON.stringify(json)}`;
}

/** The same as a frame, which may be larger than the runtime takes. */
export function frameOf(message: Said): Uint8Array {
  return encodeTextFrame(written(message), 2 * MAX_FRAME_BYTES);
}

/** The message that a text is. */
export function readText(text: string): Said {
  const [members = '', json] = text.split(VALUE_MARK);
  return { ...JSON.parse(members), ...(json !== undefined && { json: JSON.parse(json) }) };
}

/** A value as a worker gives it. */
export function given(value: unknown): WorkerText {
  return JSON.stringify(value) as WorkerText;
}

/** A value as the runtime gives it. */
export function result(value: unknown): JsonText {
  return JSON.stringify(value) as JsonText;
}
