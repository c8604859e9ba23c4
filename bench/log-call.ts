/**
 * `node bench/log-call.ts [seconds [rounds]]`: what the tree of the log costs a call.
 *
 * Two servers with everything on, which differ in the log alone: today's, and the chain of before
 * (`log-chain.ts`). They are asked in turn, one call after another on one stream; medians of the
 * rounds, and the median of the rounds' differences.
 */

import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { Calls } from '../runtime/src/call/calls.ts';
import { AttestedServer } from '../runtime/src/channel/server.ts';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { openDevice } from '../runtime/src/log/device.ts';
import { ReceiptSigner } from '../runtime/src/log/receipts.ts';
import { type Entry, RecordLog } from '../runtime/src/log/record-log.ts';
import { openLab } from '../test/support/lab.ts';
import { load } from './call-load.ts';
import { ChainLog } from './log-chain.ts';
import { scratchFolder } from './scratch.ts';

const LOG_BYTES = 2 ** 28;
const MIB = 2 ** 20;
const [seconds = 3, rounds = 7] = process.argv.slice(2).map(Number);
const folder = await scratchFolder();

/** A file of {@link LOG_BYTES} with all its blocks, as a disk has them. */
async function disk(name: string): Promise<string> {
  const path = join(folder, name);
  await using file = await open(path, 'w');
  for (let at = 0; at < LOG_BYTES; at += MIB) await file.write(new Uint8Array(MIB));
  await file.sync();
  return path;
}

const tree = await RecordLog.open(await openDevice(await disk('tree')), LOG_BYTES);
const chain = await ChainLog.open(await openDevice(await disk('chain')), LOG_BYTES);
/** The chain as the log of calls. Its records are those of before: one claim, no list of them. */
const chained: Pick<RecordLog, 'place' | 'pending'> = {
  place: ({ claims: [claim = ''], ...entry }: Entry) => {
    const { durable } = chain.place({ ...entry, v: 1, claim, controls: [] } as unknown as Parameters<
      ChainLog['place']
    >[0]);
    return { index: 0, hash: `sha256:${'00'.repeat(32)}`, durable };
  },
  pending: undefined,
};

const lab = await openLab({ handlers: { Sum: 'return { key: request.key, load: request.load }' }, size: 1 });
const method = lab.admission.exposed.find(({ descriptor }) => descriptor.name === 'Sum');
if (method === undefined) throw new TypeError('no method');
const { input } = method.descriptor;
const json = { key: 'k', load: Buffer.alloc(1024).toString('base64') };
const message = Buffer.from(toBinary(input, fromJson(input, json))).toString('base64');
const keys = makeBootKeys();
const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
const clock = new BootClock(anchorTime());

/** The port of a server with everything on and this log. */
async function serve(log: Pick<RecordLog, 'place' | 'pending'>): Promise<number> {
  const { admission, pool } = lab;
  const receipts = new ReceiptSigner(keys.signReceipts);
  const calls = new Calls({ admission, pool, log, receipts, boot: new Uint8Array(32), clock });
  // No client asks for evidence here.
  return new AttestedServer({ tls, admission, calls, attested: undefined as never }).listen('127.0.0.1', 0);
}

const ports = { chain: await serve(chained), tree: await serve(tree) };
const asked = { tls: true, path: '/lab.v1.Lab/Sum', streams: 1, seconds, message };
const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const found: { readonly chain: number; readonly tree: number }[] = [];
for (let round = 0; round < rounds; round++) {
  const of = async (port: number): Promise<number> => (await load({ ...asked, port })).p50;
  // Each goes first in every second round.
  if (round % 2 === 0) found.push({ chain: await of(ports.chain), tree: await of(ports.tree) });
  else {
    const treeFirst = await of(ports.tree);
    found.push({ chain: await of(ports.chain), tree: treeFirst });
  }
}
const [before, after] = [middle(found.map((each) => each.chain)), middle(found.map((each) => each.tree))];
const more = middle(found.map((each) => each.tree - each.chain));
console.log(`p50 of a call at one stream: chain ${before.toFixed(3)} ms, tree ${after.toFixed(3)} ms`);
console.log(`difference of each pair: median ${more.toFixed(3)} ms of ${found.length} (goal: at most 0.1)`);
lab.close();
await rm(folder, { recursive: true });
process.exit();
