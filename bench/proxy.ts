/**
 * `node bench/proxy.ts [CALLS]`: unary calls of 1 KiB with receipts, over an attested channel and
 * through `enclaim proxy`; and whole attested connections. Evidence is of a pinned key in software;
 * bench/call.ts measures what a TPM adds.
 */

import { cpus } from 'node:os';
import { connect } from '@enclaim/client';
import { startProxy } from '@enclaim/client/proxy';
import { Channel, type ChannelInterface, Client, credentials } from '@grpc/grpc-js';
import { ECHO, startPretendServer } from '../test/support/pretend-server.ts';

const CALLS = Number(process.argv[2] ?? 2000);
const request = Buffer.alloc(1024, 7);
const same = (bytes: Buffer): Buffer => bytes;

function caller(channel: ChannelInterface): () => Promise<void> {
  const client = new Client('unused', credentials.createInsecure(), { channelOverride: channel });
  return () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(`${ECHO}Unary`, same, same, request, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
}

/**
 * p50 and p99 in milliseconds of one after the other, and how many go in a second with 64 at once.
 */
async function measure(name: string, call: () => Promise<void>, calls: number): Promise<void> {
  for (let i = 0; i < calls / 10; i++) await call();
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const began = performance.now();
    await call();
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): string => (times[Math.floor(times.length * share)] ?? 0).toFixed(2);
  const began = performance.now();
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: 64 }, worker));
  const rate = (calls / (performance.now() - began)) * 1000;
  console.log(`${name.padEnd(36)} p50 ${at(0.5)} ms  p99 ${at(0.99)} ms  ${rate.toFixed(0)}/s with 64 at once`);
}

console.log(`Node ${process.version}, ${cpus().length} cores, client, proxy and server in one process`);
const server = await startPretendServer();
const { target, references } = server;
const channel = await connect(target, { references });
const proxy = await startProxy(target, { references, listen: { host: '127.0.0.1', port: 0 } });
const plain = new Channel(proxy.address, credentials.createInsecure(), {});
await measure('attested channel', caller(channel), CALLS);
await measure('plain client through the proxy', caller(plain), CALLS);
await measure(
  'attested connection, opened and closed',
  async () => (await connect(target, { references })).close(),
  Math.ceil(CALLS / 20),
);
plain.close();
channel.close();
await proxy.close();
server.stop();
