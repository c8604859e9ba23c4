/** A worker: runs handlers in a realm of their own per call. Nothing here is trusted; the process around it holds. */

import { Socket } from 'node:net';
import { encodeFrame, FrameReader } from '../frames.ts';
import { FRAME_LIMIT, type FromWorker, type ToWorker } from './protocol.ts';
import { Realm } from './realm.ts';

/** The one descriptor a worker has: its socket to the runtime. */
const RUNTIME_FD = 3;

const socket = new Socket({ fd: RUNTIME_FD, readable: true, writable: true });
const frames = new FrameReader(FRAME_LIMIT);
const send = (message: FromWorker): void => {
  socket.write(encodeFrame(message, FRAME_LIMIT));
};
let realms: Realm | undefined;

socket.on('data', (chunk: Uint8Array) => {
  for (const text of frames.push(chunk)) receive(JSON.parse(text) as ToWorker);
});
socket.on('close', () => process.exit(0));
socket.on('error', () => process.exit(1));

function receive(message: ToWorker): void {
  if (message.kind === 'load') {
    try {
      realms = new Realm(message.code, message.methods, send);
      send({ kind: 'ready' });
    } catch (error) {
      send({ kind: 'unusable', reason: error instanceof Error ? error.message.slice(0, 1000) : 'the bundle threw' });
    }
    return;
  }
  realms?.receive(message);
}
