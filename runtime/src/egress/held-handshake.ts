/**
 * A connection whose end of the TLS handshake is held back until the peer is identified.
 *
 * In TLS 1.3 a client sends its certificate when it has seen the server's, and before anything
 * looks at that. Without this, a stranger who answers at the address would learn the certificate.
 */

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** RFC 8446, section 5.1: records whose content is encrypted, the client's certificate among it. */
const APPLICATION_DATA = 23;
const RECORD_HEAD_BYTES = 5;
/** Bytes that are held, at most: a certificate, its proof and the end of the handshake. */
const MAX_HELD_BYTES = 64 * 1024;

/** Carries a connection's bytes; of what is written, encrypted records wait for {@link release}. */
export class HeldHandshake extends Duplex {
  readonly #socket: Socket;
  /** Records, from the first one that waits; undefined once all may go. */
  #held: Buffer | undefined = Buffer.alloc(0);

  /** @param socket which it takes over: it ends with this, and this with it */
  constructor(socket: Socket) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    socket.on('data', (bytes) => {
      if (!this.push(bytes)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** Lets everything go that waits, and what comes after it. */
  release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined && held.length > 0) this.#socket.write(held);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#held === undefined) {
      this.#socket.write(bytes, done);
      return;
    }
    const held = Buffer.concat([this.#held, bytes]);
    const open = openBytes(held);
    this.#held = held.subarray(open);
    if (this.#held.length > MAX_HELD_BYTES) done(new Error('too much waits for the peer to be identified'));
    else if (open === 0) done();
    else this.#socket.write(held.subarray(0, open), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

/** Bytes of whole records in front of the first one that is encrypted. */
function openBytes(bytes: Buffer): number {
  let at = 0;
  while (at + RECORD_HEAD_BYTES <= bytes.length) {
    // layer: certificates wait for the peer
    if (bytes.readUInt8(at) === APPLICATION_DATA) break;
    const end = at + RECORD_HEAD_BYTES + bytes.readUInt16BE(at + 3);
    if (end > bytes.length) break;
    at = end;
  }
  return at;
}
