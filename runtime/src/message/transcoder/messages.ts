/**
 * Messages of a policy's methods, as the rest of a call sees them: read and written in one pass if
 * they are usual, else by the reference.
 */

import { type DescMessage, fromBinary, type Message, type Registry } from '@bufbuild/protobuf';
import type { Category, ExposedMethod, Label, MethodId, OutboundMethod } from '@enclaim/policy-schema/admission';
import type { Json } from '../../worker/json-text.ts';
import type { Maker } from '../decode.ts';
import { type WalkedJson, walkBytes, walkJson } from '../message-walk.ts';
import type { Transcoder } from './transcoder.ts';
import { Transcoders } from './transcoders.ts';

/** A message that came as bytes. */
export interface BytesMessage {
  /** As proto3 JSON, which handlers see. */
  readonly text: string;
  readonly label: Label;
  /** Texts in its fields, in any order; empty if they were not asked for. */
  readonly texts: readonly string[];
  /** Decodes it as a whole. The bytes may not have been written to since. */
  readonly message: () => Message;
}

/** The methods whose messages are compiled. */
export interface MessagesOptions {
  readonly exposed: readonly ExposedMethod[];
  readonly outbound: readonly OutboundMethod[];
  readonly descriptors: { readonly registry: Registry };
}

/** The messages of one type and one maker. */
export class TypedMessages {
  readonly type: DescMessage;
  readonly #maker: Maker;
  readonly #registry: Registry;
  readonly #always: readonly Category[];
  readonly #transcoder: Transcoder | undefined;

  /** @param always categories that every label has */
  constructor(
    maker: Maker,
    type: DescMessage,
    registry: Registry,
    transcoders: Transcoders,
    always: readonly Category[] = [],
  ) {
    this.type = type;
    this.#maker = maker;
    this.#registry = registry;
    this.#always = always;
    this.#transcoder = transcoders.of(type, always);
  }

  /**
   * Reads a message from its bytes.
   *
   * @param searched whether detectors see its texts
   * @throws RefusalError of its maker, also for fields without a category
   */
  read(bytes: Uint8Array, searched: boolean): BytesMessage {
    const { type } = this;
    const read = this.#transcoder?.read(bytes, searched);
    if (read !== undefined) return { ...read, message: () => fromBinary(type, bytes) };
    const { json, label, texts, message } = walkBytes(this.#walk(searched), bytes);
    return { text: JSON.stringify(json), label: this.#labelled(label), texts, message: () => message };
  }

  /**
   * Reads a message from a handler's JSON.
   *
   * @param json result of `JSON.parse`
   * @throws RefusalError of its maker
   */
  write(json: Json, searched: boolean): Omit<WalkedJson, 'json'> {
    const written = this.#transcoder?.write(json, searched);
    if (written !== undefined) return { ...written, bytes: () => written.bytes };
    const walked = walkJson(this.#walk(searched), json);
    return { ...walked, label: this.#labelled(walked.label) };
  }

  #walk(searched: boolean): Parameters<typeof walkJson>[0] {
    return { maker: this.#maker, type: this.type, registry: this.#registry, searched };
  }

  #labelled(label: Label): Label {
    return this.#always.length === 0 ? label : new Set([...this.#always, ...label]);
  }
}

/** Messages of one method. */
export interface MethodMessages {
  readonly input: TypedMessages;
  readonly output: TypedMessages;
}

/** Messages of all methods of a policy, compiled when they are made. */
export class Messages {
  readonly #exposed: ReadonlyMap<MethodId, MethodMessages>;
  readonly #outbound: ReadonlyMap<MethodId, MethodMessages>;

  constructor({ exposed, outbound, descriptors: { registry } }: MessagesOptions) {
    const types = [...exposed, ...outbound].flatMap(({ descriptor }) => [descriptor.input, descriptor.output]);
    const transcoders = new Transcoders(types, registry);
    const of = (maker: Maker, type: DescMessage, always?: readonly Category[]): TypedMessages =>
      new TypedMessages(maker, type, registry, transcoders, always);
    this.#exposed = new Map(
      exposed.map(({ id, descriptor: { input, output }, rule }) => {
        // As `requestLabel` has it: without a pinned interface a request counts as all that its
        // method accepts.
        const always = rule.interface === 'any' ? rule.accepts : [];
        return [id, { input: of('request', input, always), output: of('response', output) }];
      }),
    );
    this.#outbound = new Map(
      outbound.map(({ id, descriptor: { input, output } }) => [
        id,
        { input: of('request', input), output: of('peer', output) },
      ]),
    );
  }

  /** @throws RangeError for a method that is not exposed */
  of(method: MethodId): MethodMessages {
    return found(this.#exposed, method);
  }

  /**
   * The messages of a subprocessor's method.
   *
   * @throws RangeError for one that no handler is given
   */
  ofOutbound(method: MethodId): MethodMessages {
    return found(this.#outbound, method);
  }
}

function found(messages: ReadonlyMap<MethodId, MethodMessages>, method: MethodId): MethodMessages {
  const of = messages.get(method);
  if (of === undefined) throw new RangeError(`no messages of ${method}`);
  return of;
}
