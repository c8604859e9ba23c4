/** Attacks of callers on the log: on records that they may not read, and on others who wait for it. */

import { generateKeyPairSync, sign } from 'node:crypto';
import { create, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { decodeCbor, encodeCbor } from '@enclaim/attestation/cbor';
import { Log } from '@enclaim/attestation/log-service';
import { inclusionPath, leafHash, merkleRoot } from '@enclaim/attestation/merkle';
import { encodeCoseReceipt, keyThumbprint, treeMessage } from '@enclaim/attestation/scitt';
import { type AttestedChannel, connect } from '@enclaim/client';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type * as receiptModule from '../../attestation/src/scitt/receipt.ts';
import type * as serviceModule from '../../runtime/src/channel/log-service.ts';
import type * as turnsModule from '../../runtime/src/channel/log-turns.ts';
import { type LogServer, readerName, readerProof, startLogServer } from '../support/log-server.ts';
import type { Attack } from './attack.ts';
import { heldAnswers, heldQuotes } from './log-answers.ts';
import { type Weakness, weakened } from './weakened.ts';

const SERVICE = 'runtime/src/channel/log-service.ts';
const TURNS = 'runtime/src/channel/log-turns.ts';
const RECEIPT = 'attestation/src/scitt/receipt.ts';
const ENTRIES = 700;
const NOTHING = new Uint8Array(32);

const reader = generateKeyPairSync('ed25519');

interface Scene {
  readonly server: LogServer;
  /** A new connection. */
  connect(): Promise<AttestedChannel>;
}

/** Plays an attack against a log service, whole or with weakness. */
async function against(weakness: Weakness, act: (scene: Scene) => Promise<boolean>): Promise<boolean> {
  const isWhole = Object.keys(weakness).length === 0;
  const Service = isWhole
    ? {}
    : { Service: ((await import(weakened(SERVICE, weakness))) as typeof serviceModule).LogService };
  const server = await startLogServer({ entries: ENTRIES, readers: [readerName(reader.publicKey)], ...Service });
  const channels: AttestedChannel[] = [];
  try {
    const open = async (): Promise<AttestedChannel> => {
      const channel = await connect(server.target, { references: server.references });
      channels.push(channel);
      return channel;
    };
    return await act({ server, connect: open });
  } finally {
    for (const channel of channels) channel.close();
    server.stop();
  }
}

/** Whether a call was answered well. */
function isAnswered<Method extends DescMethod>(
  channel: AttestedChannel,
  method: Method,
  request: MessageInitShape<Method['input']>,
  fields: Record<string, Buffer> = {},
): Promise<boolean> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
  const same = (each: Buffer): Buffer => each;
  return new Promise((resolve) =>
    client.makeUnaryRequest(`/${method.parent.typeName}/${method.name}`, same, same, bytes, metadata, (error) =>
      resolve(error === null),
    ),
  );
}

const { getEntries, getTile, watch } = Log.method;
const FIRST = { first: 0n, count: 1 };

const entriesWithoutKey = (weakness: Weakness): Promise<boolean> =>
  against(weakness, async ({ connect: open }) => isAnswered(await open(), getEntries, FIRST));

/** The proof of a reader's connection, shown on another one. */
const replayed = (weakness: Weakness): Promise<boolean> =>
  against(weakness, async ({ connect: open }) => {
    const [theirs, own] = [await open(), await open()];
    const proof = readerProof(reader.privateKey, reader.publicKey, theirs.attestation);
    return isAnswered(own, getEntries, FIRST, proof);
  });

const ofAnotherBoot = (weakness: Weakness): Promise<boolean> =>
  against(weakness, async ({ connect: open }) => {
    const channel = await open();
    const proof = readerProof(reader.privateKey, reader.publicKey, { ...channel.attestation, bootDigest: NOTHING });
    return isAnswered(channel, getEntries, FIRST, proof);
  });

const undurable = (weakness: Weakness): Promise<boolean> =>
  against(weakness, async ({ server, connect: open }) => {
    server.log.undurable = 100;
    const channel = await open();
    const proof = readerProof(reader.privateKey, reader.publicKey, channel.attestation);
    const entries = await isAnswered(channel, getEntries, { first: BigInt(ENTRIES - 1), count: 1 }, proof);
    return entries || (await isAnswered(channel, getTile, { level: 0, index: 2n, width: ENTRIES % 256 }));
  });

/** Requests of one connection at once, and the greatest number that may be served before another's. */
const FLOOD = 64;
const MAX_BEFORE = 3;

/** Whether another caller's request waits for those of a flood, or is not taken. */
async function starvesReaders(weakness: Weakness): Promise<boolean> {
  const turns = await turnsOf(weakness);
  let served = 0;
  for (let i = 0; i < FLOOD; i++) turns.take('hostile', async () => served++).catch(() => {});
  const before = await turns.take('honest', async () => served).catch(() => FLOOD);
  return before > MAX_BEFORE;
}

/** Whether a call that has its turn in the event loop waits for a flood of requests of the log. */
async function starvesCalls(weakness: Weakness): Promise<boolean> {
  const turns = await turnsOf(weakness);
  let served = 0;
  for (let i = 0; i < FLOOD; i++) turns.take('hostile', async () => served++).catch(() => {});
  const before = await new Promise<number>((resolve) => setImmediate(() => resolve(served)));
  return before > MAX_BEFORE;
}

async function turnsOf(weakness: Weakness): Promise<turnsModule.LogTurns> {
  const from = Object.keys(weakness).length === 0 ? `../../${TURNS}` : weakened(TURNS, weakness);
  const { LogTurns } = (await import(from)) as typeof turnsModule;
  return new LogTurns();
}

const CONNECTIONS = 5;

/** Whether no watch is left for an honest caller beside a few connections that watch as often as they can. */
const watchFlood = (weakness: Weakness): Promise<boolean> =>
  against(weakness, async ({ connect: open }) => {
    for (let i = 0; i < CONNECTIONS; i++) {
      const hostile = await open();
      await Promise.all(Array.from({ length: FLOOD }, () => isWatching(hostile)));
    }
    return !(await isWatching(await open()));
  });

/** Whether a watch is let in: it is sent a checkpoint, or is refused. */
function isWatching(channel: AttestedChannel): Promise<boolean> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const bytes = Buffer.from(toBinary(watch.input, create(watch.input, { size: 0n })));
  const same = (each: Buffer): Buffer => each;
  const stream = client.makeServerStreamRequest('/enclaim.v1.Log/Watch', same, same, bytes);
  return new Promise((resolve) => {
    stream.on('data', () => resolve(true));
    stream.on('error', (error: ServiceError) =>
      resolve(error.code !== status.RESOURCE_EXHAUSTED && error.code !== status.CANCELLED),
    );
  });
}

/**
 * A COSE receipt for the first of four leaves, whose proof states a tree of three: the same hashes lead to the same root. A
 * reader of the proof alone would believe that size.
 */
async function otherSize(weakness: Weakness): Promise<boolean> {
  const from = Object.keys(weakness).length === 0 ? `../../${RECEIPT}` : weakened(RECEIPT, weakness);
  const { parseCoseReceipt, verifyCoseReceipt } = (await import(from)) as typeof receiptModule;
  const pair = generateKeyPairSync('ed25519');
  const key = readerName(pair.publicKey);
  const leaves = Array.from({ length: 4 }, (_, i) => leafHash(Uint8Array.of(i)));
  const [known = NOTHING] = leaves;
  const tree = { origin: 'lab', subject: 'entries', size: leaves.length };
  const path = inclusionPath(leaves, 0);
  const signature = sign(null, treeMessage(tree, merkleRoot(leaves), key), pair.privateKey);
  const proof = { kind: 'inclusion', index: 0, path } as const;
  const honest = encodeCoseReceipt({ tree, keyId: keyThumbprint(key), proof, signature, companion: null });
  const { tag, value } = decodeCbor(honest) as { tag: number; value: Uint8Array[] };
  const stated = new Map([[396, new Map([[-1, [encodeCbor([tree.size - 1, 0, path])]]])]]);
  try {
    const receipt = parseCoseReceipt(encodeCbor({ tag, value: value.with(1, stated as never) }));
    await verifyCoseReceipt(receipt, key, known);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}

/** Attacks, each with the layer that stops it. */
const ATTACKS: Readonly<Record<string, readonly [layer: string, act: (weakness: Weakness) => Promise<boolean>]>> = {
  'a caller without a key reads entries': ['readers of the log', entriesWithoutKey],
  "a reader's signature, on another connection": ['signature of a reader', replayed],
  "a reader's signature for another boot": ['signature of a reader', ofAnotherBoot],
  'a tile and an entry that no write has made durable': ['durable size of the log', undurable],
  'a flood of requests of one connection before those of another': ['turns of connections', starvesReaders],
  'a flood of requests of the log before calls': ['one piece of work a turn', starvesCalls],
  'watches of a few connections, so that none is left': ['watches of a connection', watchFlood],
  'answers that a reader does not take, so that none is left for another': ['answers of a reader', heldAnswers],
  'quotes of earlier boots that strangers ask for and do not take': ['proofs that are held', heldQuotes],
  'a COSE receipt whose proof states another size than was signed': ['one form of a receipt', otherSize],
};

/** Attacks on the log. */
export const logAttacks: readonly Attack[] = Object.entries(ATTACKS).map(([name, [layer, act]]) => ({
  group: 'log',
  name,
  layer,
  attempt: () => act({}),
  control: () => act({ off: [layer] }),
}));
