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

/** The two ends of a connection, of TCP or TLS, as a stream. For Node alone. */
export class MeteredSocket extends Duplex {
  readonly #socket: Socket;
  readonly #meter = new FrameMeter();
  #discarded = 0;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#left());
    socket.on('close', () => this.destroy());
    // A peer may reset its connection at any time. 'close' follows on both.
    socket.on('error', () => {});
    this.on('error', () => {});
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#meter.sent(chunk.length);
    this.#socket.write(chunk, done);
  }

  /**
   * HTTP/2 hands heads and contents over in pieces: they leave as one.
   *
   * **Cost**: TLS would join them, too, after each had been a write of its own.
   */
  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#socket.writableEnded || error !== null) this.#socket.destroy();
    done(error);
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) {
      this.#discarded += chunk.length;
      if (this.#discarded > MAX_DISCARDED_BYTES) this.#socket.destroy();
    } else if (!this.#meter.received(chunk)) this.#calm();
    else if (!this.push(chunk)) this.#socket.pause();
  }

  /**
   * The peer sends no more: without both halves there is no connection of HTTP/2.
   *
   * **Bound**: HTTP/2 is not told by the end of this stream. Node would end the other half, and
   * until a peer that takes nothing has taken that, end the process at the next frame.
   */
  #left(): void {
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
    this.#socket.end(Buffer.concat([GOAWAY, told]));
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), FAREWELL_MS).unref();
    this.destroy();
  }
}
