/** A worker: one realm, between a socket and nothing. Nothing in this process is trusted once it has its bundle. */

import { Socket } from 'node:net';
import { concat, u32be, utf8 } from '@enclaim/attestation/bytes';
import { encodeFrame, FrameReader } from '../frames.ts';
import { Meter, NOBODY } from './meter.ts';
import { FRAME_LIMIT, type FromWorker, type ToWorker } from './protocol.ts';
import { openRealm, type Realm } from './realm.ts';
import { seal } from './seal.ts';

/** The one descriptor a worker has: its socket to the runtime. */
const RUNTIME_FD = 3;
const COLLECT = JSON.stringify({ kind: 'collect' } satisfies ToWorker);

// Node would inspect what was thrown, and call what it finds there. An error nobody expected ends the worker, unread.
process.on('unhandledRejection', () => {});
process.on('uncaughtException', () => process.exit(1));

const socket = new Socket({ fd: RUNTIME_FD, readable: true, writable: true });
const frames = new FrameReader(FRAME_LIMIT);
let realm: Realm | undefined;
let meter: Meter | undefined;
let turning = false;

socket.on('data', (chunk: Uint8Array) => {
  for (const text of frames.push(chunk)) {
    if (realm === undefined) load(text);
    else if (meter === undefined) realm.receive(text);
    else hear(realm, meter, text);
  }
  turn();
});
socket.on('close', () => process.exit(0));
socket.on('error', () => process.exit(1));
try {
  seal();
} catch (error) {
  say({ kind: 'unusable', reason: (error as Error).message });
}

function load(text: string): void {
  const message = JSON.parse(text) as ToWorker;
  if (message.kind !== 'load') return;
  try {
    if (message.metered) meter = new Meter();
    realm = openRealm(message.code, message.methods);
    while (prepare(realm));
    if (meter !== undefined) say(meter.report(true));
    say({ kind: 'ready' });
  } catch (error) {
    say({ kind: 'unusable', reason: (error as Error).message.slice(0, 1000) });
  }
}

function say(message: FromWorker): void {
  socket.write(encodeFrame(message, FRAME_LIMIT));
}

/** One message, with a turn of the loop for itself: whatever runs until the next one runs for this one's call. */
function hear(from: Realm, charging: Meter, text: string): void {
  setImmediate(() => {
    charging.charge();
    if (charging.owes) say(charging.report());
    charging.heard(text === COLLECT ? NOBODY : from.receive(text));
    if (text === COLLECT) say(charging.report(true));
    turn();
  });
}

function prepare(from: Realm): boolean {
  meter?.charge();
  const made = from.prepare();
  if (made) meter?.prepared();
  return made;
}

/** After handlers have run as far as they can: sends what they said, and uses the pause for the next calls' instances. */
function turn(): void {
  if (turning || realm === undefined) return;
  turning = true;
  setImmediate(() => {
    turning = false;
    meter?.charge();
    socket.cork();
    if (meter?.due) say(meter.report());
    const said: unknown = realm?.take();
    if (typeof said === 'string' && said !== '') send(said);
    socket.uncork();
    if (realm !== undefined && prepare(realm)) turn();
  });
}

/** One frame for each line. What is too long to be a frame ends the worker: the runtime would end it for that. */
function send(said: string): void {
  const parts: Uint8Array[] = [];
  for (const line of said.split('\n')) {
    if (line === '') continue;
    const bytes = utf8(line);
    if (bytes.length > FRAME_LIMIT) process.exit(1);
    parts.push(u32be(bytes.length), bytes);
  }
  socket.write(concat(...parts));
}
