/**
 * Limits the frames that a peer of HTTP/2 may send beside its calls (RFC 9113, section 10.5). One
 * meter for each connection.
 *
 * **Bound**: frames that cost work and carry no message are counted against the bytes that the peer
 * was sent, because a peer that is answered has frames to send. Frames that carry less than any
 * message does are counted against the bytes of larger ones.
 */

const PREFACE_LENGTH = 24;
const HEAD_LENGTH = 9;
const DATA = 0;
const HEADERS = 1;
const RESET = 3;
const GOAWAY = 7;
const END_STREAM = 1;
const PADDED = 8;
/** Largest length of a padded frame that counts as an event, because it may hold only padding. */
const MAX_PADDING_BYTES = 256;

/**
 * Bytes before a message of gRPC. A DATA frame with fewer holds none, and no client has a use for
 * many: a full window may end in one.
 */
const PREFIX_BYTES = 5;

/**
 * Events that a peer has at the start, and at most. A client that has not yet been answered sends
 * fewer.
 */
const MAX_EVENTS = 1000;
/**
 * Bytes sent to the peer that give one event back: two updates of windows for each small message.
 */
const BYTES_PER_EVENT = 32;
/**
 * Events that a frame of each type costs; any other costs one. A call that the client gives up is
 * work whose answer no peer receives.
 *
 * **Bound**: with its HEADERS frame such a call costs six events: 166 calls in a burst, and eight
 * in a second after it.
 */
const COST: Readonly<Record<number, number>> = { [RESET]: 5, [GOAWAY]: 5 };

/** Fragments, which are such DATA frames, that a peer has at the start, and at most. */
const MAX_FRAGMENTS = 1000;
/** Bytes of content that give one fragment back: half of a window. */
const BYTES_PER_FRAGMENT = 32 * 1024;

/** Events or fragments given back in a second, for clients that do little else. */
const PER_SECOND = 50;

/** A number of something that is used up, given back, and returns with time. */
class Allowance {
  readonly #most: number;
  readonly #now: () => number;
  #left: number;
  #at: number;

  constructor(most: number, now: () => number) {
    this.#most = most;
    this.#now = now;
    this.#left = most;
    this.#at = now();
  }

  give(number: number): void {
    this.#left = Math.min(this.#most, this.#left + number);
  }

  /**
   * Uses up so many. False if there are not as many, with those that time has given back.
   *
   * **Cost**: the clock is read only if none is left.
   */
  take(number: number): boolean {
    this.#left -= number;
    if (this.#left >= 0) return true;
    const now = this.#now();
    this.give(((now - this.#at) / 1000) * PER_SECOND);
    this.#at = now;
    return this.#left >= 0;
  }
}

/** Counts of one connection. The meter holds none of its bytes. */
export class FrameMeter {
  readonly #events: Allowance;
  readonly #fragments: Allowance;
  /** Bytes to skip: the preface, then the payload of each frame. */
  #skip = PREFACE_LENGTH;
  /** Number of bytes of a frame's head that have come, then the fields read from them. */
  #seen = 0;
  #length = 0;
  #type = 0;
  #flags = 0;
  #stream = 0;
  #latest = 0;

  /** @param now milliseconds of a clock that only goes forward */
  constructor(now: () => number = () => performance.now()) {
    this.#events = new Allowance(MAX_EVENTS, now);
    this.#fragments = new Allowance(MAX_FRAGMENTS, now);
  }

  /** The highest stream that the peer has begun. */
  get latest(): number {
    return this.#latest;
  }

  /** Gives back events for the bytes that went to the peer. */
  sent(bytes: number): void {
    this.#events.give(bytes / BYTES_PER_EVENT);
  }

  /** Counts the frames in bytes from the peer. False if the peer has exceeded what it may. */
  received(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length; ) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
      } else {
        this.#head(chunk[at++] as number);
        if (this.#seen === HEAD_LENGTH && !this.#frame()) return false;
      }
    }
    return true;
  }

  /** One byte of a frame's head: length (3), type, flags, stream (4). */
  #head(byte: number): void {
    const at = this.#seen++;
    if (at < 3) this.#length = this.#length * 256 + byte;
    else if (at === 3) this.#type = byte;
    else if (at === 4) this.#flags = byte;
    else this.#stream = (this.#stream * 256 + (at === 5 ? byte & 0x7f : byte)) >>> 0;
  }

  #frame(): boolean {
    const isBorne = this.#type === DATA ? this.#data() : this.#events.take(COST[this.#type] ?? 1);
    if (this.#type === HEADERS) this.#latest = Math.max(this.#latest, this.#stream);
    this.#skip = this.#length;
    this.#seen = 0;
    this.#length = 0;
    this.#stream = 0;
    return isBorne;
  }

  /**
   * Counts a DATA frame: as an event if it may hold no content, as a fragment if it holds less than
   * any message. The end of a stream costs nothing, because its beginning did.
   */
  #data(): boolean {
    if ((this.#flags & PADDED) !== 0 && this.#length <= MAX_PADDING_BYTES) return this.#events.take(1);
    if (this.#length >= PREFIX_BYTES) this.#fragments.give(this.#length / BYTES_PER_FRAGMENT);
    else if ((this.#flags & END_STREAM) === 0) return (this.#length === 0 ? this.#events : this.#fragments).take(1);
    return true;
  }
}
