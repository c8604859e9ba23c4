/** Messages to one worker: those of a turn leave in one write, and few may wait. */

import type { Duplex } from 'node:stream';
import { RefusalError } from '../errors.ts';
import { type FrameText, joinFrames, measured } from '../frames.ts';
import type { JsonText } from './json-text.ts';
import { type CallGrants, type CallMessage, MAX_FRAME_BYTES, type ToWorker, VALUE_MARK } from './protocol.ts';

/** Bytes that may wait to be written to a worker that does not read. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;
/**
 * Bytes that may wait for a worker when another operation is started. The answer to that operation
 * may be large.
 */
const MAX_QUEUED_BYTES = MAX_FRAME_BYTES;
/** Messages in one write. With more, the worker would idle while the runtime puts them together. */
const MAX_FRAMES_PER_WRITE = 16;

/** Writes to one worker, and knows whether it reads. */
export class Outbox {
  readonly #socket: Duplex;
  readonly #onUnread: () => void;
  /** Frames of one turn of the loop, written together. */
  #unsaid: FrameText[] = [];
  #unsaidLength = 0;
  /**
   * Resolves when the worker has taken what was written to it. Present while an operation waits for
   * that.
   */
  #room: PromiseWithResolvers<void> | undefined;
  #closed = false;

  /** @param onUnread is called if the worker does not read */
  constructor(socket: Duplex, onUnread: () => void) {
    this.#socket = socket;
    this.#onUnread = onUnread;
    socket.on('drain', () => this.#makeRoom());
  }

  /** A promise of room for another answer, which may be large; undefined if there is room. */
  get room(): Promise<void> | undefined {
    if (this.#untaken <= MAX_QUEUED_BYTES) return undefined;
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** @throws RefusalError `budget` as {@link framed} does */
  send(message: ToWorker, json?: JsonText): void {
    this.write(framed(message, json));
  }

  /** Writes a text as a frame at the end of this turn of the loop. */
  write(frame: FrameText): void {
    if (this.#closed) return;
    if (this.#untaken > MAX_UNREAD_BYTES) {
      this.#onUnread();
      return;
    }
    if (this.#unsaid.length === 0) setImmediate(() => this.#flush());
    this.#unsaid.push(frame);
    this.#unsaidLength += frame.length;
    if (this.#unsaid.length >= MAX_FRAMES_PER_WRITE) this.#flush();
  }

  /** Writes nothing more. */
  close(): void {
    this.#closed = true;
  }

  /** Bytes that the worker has not taken yet. */
  get #untaken(): number {
    return this.#socket.writableLength + this.#unsaidLength;
  }

  #makeRoom(): void {
    if (this.#room === undefined || this.#untaken > MAX_QUEUED_BYTES) return;
    this.#room.resolve();
    this.#room = undefined;
  }

  #flush(): void {
    if (this.#unsaid.length === 0) return;
    const said = joinFrames(this.#unsaid);
    this.#unsaid = [];
    this.#unsaidLength = 0;
    if (!this.#closed) this.#socket.write(said);
  }
}

/**
 * A message and the value that it carries, as text that fits into a frame. A small request can be a
 * large text, because JSON writes a control character in six.
 *
 * @throws RefusalError `budget`
 */
export function framed(message: ToWorker, json?: JsonText): FrameText {
  return framedText(JSON.stringify(message), json);
}

/** Members of a message that say what a method was granted, with all that follows them. */
const GRANTED: WeakMap<CallGrants, string> = new WeakMap();

/**
 * The message of a call, as {@link framed}. Time, identifier and seed are words of the runtime,
 * without a character that JSON would escape.
 *
 * **Cost**: what a method was granted is written once.
 */
export function framedCall(call: number, { grants, time, id, seed }: CallMessage, json?: JsonText): FrameText {
  let granted = GRANTED.get(grants);
  if (granted === undefined) {
    granted = JSON.stringify(grants).slice(1);
    GRANTED.set(grants, granted);
  }
  return framedText(`{"kind":"call","call":${call},"time":"${time}","id":"${id}","seed":"${seed}",${granted}`, json);
}

function framedText(members: string, json: JsonText | undefined): FrameText {
  try {
    return measured(json === undefined ? [members] : [members + VALUE_MARK, json], MAX_FRAME_BYTES);
  } catch (cause) {
    throw new RefusalError('budget', 'a message is too large for a worker', { cause });
  }
}
