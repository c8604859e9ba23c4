/**
 * A connection whose frames are counted on their way to HTTP/2. A peer that sends too many that
 * carry no message is told to be calm, and the connection ends.
 */

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { FrameMeter } from './frame-meter.ts';

/** RFC 9113, sections 6.8 and 7. */
const GOAWAY = Uint8Array.of(0, 0, 8, 7, 0, 0, 0, 0, 0);
const ENHANCE_YOUR_CALM = 11;
/**
 * Bytes that are still read and thrown away from a peer that was told to be calm.
 *
 * Without this, the kernel's reset could overtake the GOAWAY frame.
 */
const MAX_DISCARDED_BYTES = 1024 * 1024;
const FAREWELL_MS = 1000;
/**
 * Turns of the loop for which a connection holds what is written, and bytes from which on it does
 * not.
 */
const HELD_TURNS = 3;
const MAX_HELD_BYTES = 128 * 1024;

/** The two ends of a connection, of TCP or TLS, as a stream. For Node alone. */
export class MeteredSocket extends Duplex {
  readonly #socket: Socket;
  readonly #meter = new FrameMeter();
  /** Pieces that were written and are not handed to the socket, and their bytes. */
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Called once there is room for more. */
  #taken: (() => void)[] = [];
  /** Turns of the loop that have passed since it is held, and those after which it leaves. */
  #turns = 0;
  #until = 0;
  /** Whether HTTP/2 reads now. */
  #isReading = false;
  /** Whether the socket has more than it likes to hold. */
  #isFull = false;
  #discarded = 0;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#left());
    socket.on('drain', () => {
      this.#isFull = false;
      this.#letGo();
    });
    socket.on('close', () => this.destroy());
    // A peer may reset its connection at any time. 'close' follows on both.
    socket.on('error', () => {});
    this.on('error', () => {});
  }

  override _read(): void {
    this.#socket.resume();
  }

  /**
   * Lets what is written within the next turns leave as one piece: an answer with its trailers,
   * which HTTP/2 writes two turns later.
   *
   * **Cost**: each piece is a record of TLS, and a turn of its own for the peer.
   */
  hold(): void {
    this.#holdFor(HELD_TURNS);
  }

  /** HTTP/2 hands heads and contents over in pieces, between `cork` and `uncork`. */
  override cork(): void {}

  /** @param taken is called once this connection has room for more */
  override write(chunk: Buffer, taken?: unknown): boolean {
    this.#pieces.push(chunk);
    this.#bytes += chunk.length;
    if (typeof taken === 'function') this.#taken.push(taken as () => void);
    return true;
  }

  /**
   * **Cost**: TLS would join the pieces, too, after each had been a write of its own. What fits
   * into the socket counts as taken at once: to hear of its end would cost turns of the loop.
   */
  override uncork(): void {
    // What a read causes, such as updates of windows, leaves with what its turn writes.
    if (this.#isReading) this.#holdFor(1);
    if (this.#until === 0 || this.#bytes >= MAX_HELD_BYTES) this.#flush();
    if (!this.#isFull) this.#letGo();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#flush();
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#flush();
    if (!this.#socket.writableEnded || error !== null) this.#socket.destroy();
    done(error);
  }

  /** Holds what is written until so many turns have passed since the first of it was to be held. */
  #holdFor(turns: number): void {
    if (this.#until === 0) setImmediate(this.#turned);
    this.#until = Math.max(this.#until, turns);
  }

  readonly #turned = (): void => {
    if (++this.#turns < this.#until) setImmediate(this.#turned);
    else {
      this.#turns = 0;
      this.#until = 0;
      this.#flush();
    }
  };

  /** Hands all that was written to the socket, in one piece. */
  #flush(): void {
    const [first] = this.#pieces;
    if (first === undefined || this.#socket.destroyed || this.#socket.writableEnded) return;
    const piece = this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces, this.#bytes);
    this.#pieces = [];
    this.#bytes = 0;
    this.#meter.sent(piece.length);
    if (!this.#socket.write(piece)) this.#isFull = true;
  }

  #letGo(): void {
    const taken = this.#taken;
    this.#taken = [];
    for (const tell of taken) tell();
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) {
      this.#discarded += chunk.length;
      if (this.#discarded > MAX_DISCARDED_BYTES) this.#socket.destroy();
    } else if (!this.#meter.received(chunk)) this.#calm();
    else if (!this.#read(chunk)) this.#socket.pause();
  }

  /** Has HTTP/2 read, and returns whether it likes to read on. */
  #read(chunk: Buffer): boolean {
    this.#isReading = true;
    try {
      return this.push(chunk);
    } finally {
      this.#isReading = false;
    }
  }

  /**
   * The peer sends no more: without both halves there is no connection of HTTP/2.
   *
   * **Bound**: HTTP/2 is not told by the end of this stream. Node would end the other half, and
   * until a peer that takes nothing has taken that, end the process at the next frame.
   */
  #left(): void {
    this.#flush();
    this.#socket.end();
    this.destroy();
  }

  /**
   * Ends the connection with a GOAWAY frame. HTTP/2 writes whole frames, so that one of ours fits
   * behind them.
   */
  #calm(): void {
    const told = Buffer.alloc(8);
    told.writeUInt32BE(this.#meter.latest, 0);
    told.writeUInt32BE(ENHANCE_YOUR_CALM, 4);
    this.#flush();
    this.#socket.end(Buffer.concat([GOAWAY, told]));
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), FAREWELL_MS).unref();
    this.destroy();
  }
}
