/** A client that writes HTTP/2 frame by frame (RFC 9113): what no library would send. */

import { once } from 'node:events';
import { connect as connectPlain, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { HANGS_MS } from '../support/eventually.ts';

/** Types of frames. */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
/** Flags: of headers and data, of headers, of settings and pings. */
export const FLAG = { endStream: 1, endHeaders: 4, padded: 8, ack: 1 } as const;

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Header fields in the order in which they are sent; names and values as they are. */
export type Fields = readonly (readonly [name: string, value: string])[];

/** What a call of the laboratory starts with. */
export const CALL: Fields = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':path', '/lab.v1.Lab/Sum'],
  [':authority', 'localhost'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];
/** A Note with the key "k" as a message of gRPC. */
export const NOTE: Buffer = Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x6b]);
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** One frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Whether a frame is the last of its stream. */
export function endsStream(type: number, flags: number): boolean {
  return type === FRAME.reset || ((type === FRAME.headers || type === FRAME.data) && (flags & FLAG.endStream) !== 0);
}

/** A block of literal fields that no table remembers (RFC 7541, 6.2.2). */
export function block(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const length: number[] = [Math.min(bytes.length, 127)];
  if (bytes.length >= 127) {
    let left = bytes.length - 127;
    for (; left >= 128; left >>>= 7) length.push((left & 127) | 128);
    length.push(left);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A setting (RFC 9113, 6.5.1). */
export function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

/** A connection. */
export class RawConnection {
  readonly frames: Frame[] = [];
  readonly socket: Socket;
  /** Resolves once the connection is closed. */
  readonly over: Promise<void>;
  #held = Buffer.alloc(0);
  #closed = false;
  #answersPings = false;
  #marks = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    this.over = new Promise((resolve) => {
      socket.on('close', () => {
        this.#closed = true;
        resolve();
      });
    });
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** @throws the error of the handshake */
  static async open(port: number, options: ConnectionOptions = {}): Promise<RawConnection> {
    const all = { port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'], ...options };
    const socket = connect(all);
    await once(socket, 'secureConnect');
    return new RawConnection(socket);
  }

  /** Without TLS, as a proxy is asked. @throws the error of the connection */
  static async openPlain(port: number): Promise<RawConnection> {
    const socket = connectPlain(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  /** Preface and settings. */
  greet(...settings: readonly Buffer[]): this {
    this.send(PREFACE, frame(FRAME.settings, 0, 0, Buffer.concat(settings)));
    return this;
  }

  /** From now on, pings are answered: the client is there, whatever else it does. */
  answerPings(): this {
    this.#answersPings = true;
    return this;
  }

  send(...parts: readonly Uint8Array[]): this {
    if (!this.#closed) this.socket.write(Buffer.concat(parts));
    return this;
  }

  /** Sends a whole request and answers with its trailers as text, or undefined where none came in time. */
  async call(
    stream: number,
    fields: Fields = CALL,
    message: Buffer = NOTE,
    within: number = HANGS_MS,
  ): Promise<string | undefined> {
    this.send(
      frame(FRAME.headers, FLAG.endHeaders, stream, block(fields)),
      frame(FRAME.data, FLAG.endStream, stream, message),
    );
    return this.trailersOf(stream, within);
  }

  /** The last block of headers of a stream, undecoded: names and values of trailers are literals, some in Huffman's code. */
  async trailersOf(stream: number, within: number = HANGS_MS): Promise<string | undefined> {
    const found = await this.until(
      (it) => it.stream === stream && it.type === FRAME.headers && (it.flags & FLAG.endStream) !== 0,
      within,
    );
    return found?.payload.toString('latin1');
  }

  /** The first frame that fits, or undefined where none comes in time. */
  async until(fits: (frame: Frame) => boolean, within: number = HANGS_MS): Promise<Frame | undefined> {
    for (const end = performance.now() + within; performance.now() < end && !this.#closed; ) {
      const found = this.frames.find(fits);
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.frames.find(fits);
  }

  /** Resolves once the server has read all that was sent, or has ended the connection. */
  async settled(): Promise<void> {
    const mark = Buffer.from(String(this.#marks++).padStart(8, '0'));
    this.send(frame(FRAME.ping, 0, 0, mark));
    await this.until(({ type, payload }) => type === FRAME.ping && payload.equals(mark));
  }

  /** Whether the server has ended the connection, or said that it will. */
  get ended(): boolean {
    return this.#closed || this.frames.some(({ type }) => type === FRAME.goaway);
  }

  /** The error that the server ended the connection with, where it said one. */
  get error(): number | undefined {
    return this.frames.findLast(({ type }) => type === FRAME.goaway)?.payload.readUInt32BE(4);
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#held = Buffer.concat([this.#held, chunk]);
    while (this.#held.length >= 9) {
      const length = this.#held.readUIntBE(0, 3);
      if (this.#held.length < 9 + length) return;
      const type = this.#held.readUInt8(3);
      const flags = this.#held.readUInt8(4);
      const payload = this.#held.subarray(9, 9 + length);
      this.frames.push({ type, flags, stream: this.#held.readUInt32BE(5), payload });
      if (this.#answersPings && type === FRAME.ping && flags !== FLAG.ack)
        this.send(frame(FRAME.ping, FLAG.ack, 0, payload));
      this.#held = this.#held.subarray(9 + length);
    }
  }
}
