/**
 * The main part of a worker process: one realm, and a socket to the runtime. Nothing in this
 * process is trusted once it has its bundle.
 */

import { Socket } from 'node:net';
import { encodeFrame, FRAME_PREFIX_BYTES, FrameReader } from '../../frames.ts';
import { type FromWorker, MAX_FRAME_BYTES, type ToWorker } from '../protocol.ts';
import { Meter, NOBODY } from './meter.ts';
import type { Realm } from './realm.ts';
import { seal } from './seal.ts';

/** The worker's only descriptor: its socket to the runtime. */
const RUNTIME_FD = 3;
const LINE_FEED = 10;
const COLLECT = JSON.stringify({ kind: 'collect' } satisfies ToWorker);

/**
 * Makes the realm for a bundle with the methods that it must have.
 *
 * @throws Error if it cannot be served
 */
export type OpenRealm = (code: string, methods: readonly string[]) => Realm;

/** Runs the worker of this process until its socket closes. */
export function serveWorker(open: OpenRealm): void {
  // Node would inspect a thrown value, and call functions that it finds there. An unexpected error
  // ends the worker without being read.
  process.on('unhandledRejection', () => {});
  process.on('uncaughtException', () => process.exit(1));
  new Worker(open).begin();
}

class Worker {
  readonly #open: OpenRealm;
  readonly #socket = new Socket({ fd: RUNTIME_FD, readable: true, writable: true });
  readonly #frames = new FrameReader(MAX_FRAME_BYTES);
  #realm: Realm | undefined;
  #meter: Meter | undefined;
  #turning = false;

  constructor(open: OpenRealm) {
    this.#open = open;
  }

  begin(): void {
    this.#socket.on('data', (chunk: Uint8Array) => {
      for (const text of this.#frames.push(chunk)) {
        if (this.#realm === undefined) this.#load(text);
        else if (this.#meter === undefined) this.#realm.receive(text);
        else this.#hear(this.#realm, this.#meter, text);
      }
      this.#turn();
    });
    this.#socket.on('close', () => process.exit(0));
    this.#socket.on('error', () => process.exit(1));
    try {
      seal();
    } catch (error) {
      this.#say({ kind: 'unusable', reason: (error as Error).message });
    }
  }

  #load(text: string): void {
    const message = JSON.parse(text) as ToWorker;
    if (message.kind !== 'load') return;
    try {
      if (message.metered) this.#meter = new Meter();
      this.#realm = this.#open(message.code, message.methods);
      while (this.#prepare(this.#realm));
      if (this.#meter !== undefined) this.#say(this.#meter.report(true));
      this.#say({ kind: 'ready' });
    } catch (error) {
      this.#say({ kind: 'unusable', reason: (error as Error).message.slice(0, 1000) });
    }
  }

  #say(message: FromWorker): void {
    this.#socket.write(encodeFrame(message, MAX_FRAME_BYTES));
  }

  /**
   * Handles one message in a turn of the loop of its own. All code that runs until the next message
   * runs for this message's call.
   */
  #hear(from: Realm, charging: Meter, text: string): void {
    setImmediate(() => {
      charging.charge();
      if (charging.owes) this.#say(charging.report());
      charging.heard(text === COLLECT ? NOBODY : from.receive(text));
      if (text === COLLECT) this.#say(charging.report(true));
      this.#turn();
    });
  }

  #prepare(from: Realm): boolean {
    this.#meter?.charge();
    const made = from.prepare();
    if (made) this.#meter?.prepared();
    return made;
  }

  /**
   * Runs after handlers have run as far as they can. Sends their messages, and uses the pause to
   * prepare instances for the next calls.
   */
  #turn(): void {
    if (this.#turning || this.#realm === undefined) return;
    this.#turning = true;
    setImmediate(() => {
      this.#turning = false;
      this.#meter?.charge();
      this.#socket.cork();
      if (this.#meter?.due) this.#say(this.#meter.report());
      const said: unknown = this.#realm?.take();
      if (typeof said === 'string' && said !== '') this.#send(said);
      this.#socket.uncork();
      if (this.#realm !== undefined && this.#prepare(this.#realm)) this.#turn();
    });
  }

  /**
   * Sends messages as frames, in one write. In place of the first four bytes of each, which are a
   * line feed and spaces, it writes the length. A message too long for a frame ends the worker,
   * because the runtime would end it for that.
   */
  #send(said: string): void {
    const bytes = Buffer.from(said);
    for (let at = 0, end = 0; at < bytes.length; at = end) {
      const next = bytes.indexOf(LINE_FEED, at + 1);
      end = next < 0 ? bytes.length : next;
      const length = end - at - FRAME_PREFIX_BYTES;
      if (length > MAX_FRAME_BYTES) process.exit(1);
      bytes.writeUInt32BE(length, at);
    }
    this.#socket.write(bytes);
  }
}
