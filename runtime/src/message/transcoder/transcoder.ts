/**
 * The transcoder of one message type: bytes to JSON text, and JSON text to bytes, each in one pass
 * that also makes the label, counts the parts, and collects the texts that detectors see.
 *
 * **Trust**: it only ever agrees. What it takes, the walk of `message-walk.ts` takes, with the same
 * result. All else it leaves to that walk, which alone refuses:
 *
 * - `Any`, `Struct`, `Value`, `ListValue`, groups, extensions, fields that must be there (proto2);
 * - fields that the type does not have, values that a closed enum does not have;
 * - a field that comes twice, a list in pieces, two fields of one choice, entries of a map that are
 *   not a key and a value, or have one key;
 * - texts with U+FFFD, which bytes that are no text also become; tags of five bytes;
 * - messages deeper than `MAX_MESSAGE_DEPTH`, and those of more than `MAX_PARTS`;
 * - JSON with a number of 32 bits or a fraction as a text, a whole number that may be rounded, a
 *   name twice or unknown, null in a choice or a list, or as a value of its own;
 * - types whose messages can carry more than `MAX_CATEGORIES` categories.
 */

import type { DescMessage } from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Label } from '@enclaim/policy-schema/admission';
import type { Json } from '../../worker/json-text.ts';
import { namesIn, wireTextsIn } from '../searchable-text.ts';
import type { KeptLabels } from './category-bits.ts';
import type { Shape, Writing } from './field.ts';
import { FoundTexts } from './found-texts.ts';
import { WireReader } from './wire-reader.ts';

/** A message that was read from the wire. */
export interface ReadMessage {
  /** As proto3 JSON. */
  readonly text: string;
  /** Categories of its populated fields. */
  readonly label: Label;
  /** Texts that detectors see, in any order; empty if they were not asked for. */
  readonly texts: readonly string[];
}

/** A message that was written to the wire. */
export interface WrittenMessage {
  readonly bytes: Uint8Array;
  /** Categories of its populated fields. */
  readonly label: Label;
  /** Texts in its fields and in its bytes. */
  readonly texts: readonly string[];
}

/** Bytes of the largest message whose writer is kept. */
const MAX_KEPT_BYTES: number = 64 * 1024;

/** Reads and writes messages of one type. */
export class Transcoder {
  readonly #type: DescMessage;
  readonly #shape: Shape;
  readonly #labels: KeptLabels;
  /**
   * The writer of the last message, if that was written whole.
   *
   * **Cost**: its buffer has grown already.
   */
  #writer: BinaryWriter | undefined;

  constructor(type: DescMessage, shape: Shape, labels: KeptLabels) {
    this.#type = type;
    this.#shape = shape;
    this.#labels = labels;
  }

  /**
   * Reads a message; undefined if it is not a usual one.
   *
   * @param searched whether detectors see its texts
   */
  read(bytes: Uint8Array, searched: boolean): ReadMessage | undefined {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const reader = new WireReader(buffer, this.#texts(searched), false);
    const found = this.#readBy(reader);
    if (found !== undefined || !reader.disordered) return found;
    return this.#readBy(new WireReader(buffer, this.#texts(searched), true));
  }

  /**
   * Writes a message; undefined if it is not a usual one.
   *
   * @param json result of `JSON.parse`
   */
  write(json: Json, searched: boolean): WrittenMessage | undefined {
    const texts = this.#texts(searched);
    const writing: Writing = { writer: this.#writer ?? new BinaryWriter(), texts, label: 0 };
    this.#writer = undefined;
    try {
      this.#shape.write(writing, json, 0);
    } catch {
      return undefined;
    }
    const bytes = writing.writer.finish();
    if (bytes.length <= MAX_KEPT_BYTES) this.#writer = writing.writer;
    const found = texts === undefined ? [] : [...texts.found, ...wireTextsIn(this.#type, bytes)];
    return { bytes, label: this.#labels.of(writing.label), texts: found };
  }

  #readBy(reader: WireReader): ReadMessage | undefined {
    try {
      const text = this.#shape.read(reader, reader.bytes.length, 0);
      return { text, label: this.#labels.of(reader.label), texts: reader.texts?.found ?? [] };
    } catch {
      // Whatever it was, the reference meets it, too, or takes the message.
      return undefined;
    }
  }

  #texts(searched: boolean): FoundTexts | undefined {
    return searched ? new FoundTexts(namesIn(this.#type)) : undefined;
  }
}
