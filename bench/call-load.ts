/**
 * The load generator of `bench/call.ts`, a process of its own: calls as fast as they are answered,
 * on so many streams of one connection.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:http2';

/** The calls to be made. */
export interface LoadOrder {
  readonly port: number;
  readonly tls: boolean;
  readonly path: string;
  readonly streams: number;
  /** After a second that is not counted. */
  readonly seconds: number;
  /** The request message in base64. */
  readonly message: string;
}

/** Figures that it reports. */
export interface Load {
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** Tells this program to be the generator. */
const ROLE = 'load';

/** Makes calls from another process. */
export async function load(order: LoadOrder): Promise<Load> {
  const child: ChildProcess = fork(import.meta.filename, [ROLE]);
  child.send(order);
  const [figures] = (await once(child, 'message')) as [Load];
  return figures;
}

async function generate({ port, tls, path, streams, seconds, message }: LoadOrder): Promise<Load> {
  const session = connect(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, { rejectUnauthorized: false });
  await once(session, 'connect');
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const bytes = Buffer.from(message, 'base64');
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), bytes]);
  frame.writeUInt32BE(bytes.length, 1);
  const times: number[] = [];
  const warm = performance.now() + 1000;
  const end = warm + seconds * 1000;
  const call = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const stream = session.request(headers);
      stream.on('trailers', (trailers) => {
        if (trailers['grpc-status'] !== '0') reject(new Error(`status ${trailers['grpc-status']}`));
      });
      stream.on('error', reject);
      stream.on('end', resolve);
      stream.resume();
      stream.end(frame);
    });
  const lane = async (): Promise<void> => {
    for (let at = performance.now(); at < end; ) {
      await call();
      const now = performance.now();
      if (at > warm) times.push(now - at);
      at = now;
    }
  };
  await Promise.all(Array.from({ length: streams }, lane));
  session.close();
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN;
  return { perSecond: times.length / seconds, p50: at(0.5), p99: at(0.99) };
}

if (process.argv[1] === import.meta.filename && process.argv[2] === ROLE) {
  process.once('message', async (order) => {
    process.send?.(await generate(order as LoadOrder), () => process.exit());
  });
  await new Promise(() => {});
}
