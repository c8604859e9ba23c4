/** Attacks on keys that a peer keeps: having a key of another machine, one that is gone, or an epoch that goes back. */

import { randomBytes } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { encodeNonceLeaf } from '@enclaim/attestation/batch';
import { toHex, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import {
  AdvanceResponseSchema,
  ChallengeResponseSchema,
  type KeptIdentity,
  keeperNonce,
  ReleaseRequestSchema,
  ReleaseResponseSchema,
} from '@enclaim/attestation/keeper';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { merkleRoot } from '@enclaim/attestation/merkle';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import { bootDigest, type CurrentBootStatement, encodeStatement } from '@enclaim/attestation/statement';
import { canonicalPolicy, parsePolicy, policyDigest } from '@enclaim/policy-schema';
import type { KeptMachines, Policy } from '@enclaim/policy-schema/admission';
import type * as storageModule from '../../attestation/src/appraise/storage.ts';
import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import type { CallEnd, GrpcCall } from '../../runtime/src/channel/grpc-call.ts';
import { evidenceOf } from '../../runtime/src/channel/handshake.ts';
import type * as serviceModule from '../../runtime/src/channel/keeper-service.ts';
import type * as peerModule from '../../runtime/src/egress/peer-keeper.ts';
import { QuoteBatcher } from '../../runtime/src/hardware/quote-batch.ts';
import type * as keptModule from '../../runtime/src/storage/sealed/kept-epochs.ts';
import { SealedStore } from '../../runtime/src/storage/sealed/sealed-store.ts';
import { entry, FakeDisk } from '../../runtime/test/log/support.ts';
import { MIB, TestClock } from '../../runtime/test/sealed/support.ts';
import { FakeKeeper } from '../fakes/keeper.ts';
import { FakePsp } from '../fakes/psp.ts';
import { now, snpLaunch } from '../support/silicon.ts';
import { type Attack, comes, settling } from './attack.ts';
import { passes } from './source-attack.ts';
import { weakened } from './weakened.ts';

const KEPT = 'runtime/src/storage/sealed/kept-epochs.ts';
const SERVICE = 'runtime/src/channel/keeper-service.ts';
const PEER = 'runtime/src/egress/peer-keeper.ts';
const STORAGE = 'attestation/src/appraise/storage.ts';
const LINE = 'quiet panic=-1';
const [OWNER, STRANGER] = ['A', 'B'].map((letter) => `ed25519:${letter.repeat(42)}A` as const) as [
  `ed25519:${string}`,
  `ed25519:${string}`,
];
const IMAGE = digestText('sha256', sha256(utf8('image of askers')));
const BOOT = digestText('sha256', sha256(utf8('boot')));
const IDENTITY: KeptIdentity = {
  policy: digestText('sha384', sha384(utf8('policy'))),
  image: IMAGE,
  owner: OWNER,
  system: 'kept',
};
const asking = (identity: KeptIdentity = IDENTITY) => ({ identity, boot: BOOT });
const key = (): Uint8Array => Uint8Array.from(randomBytes(32));
const psp = new FakePsp();
/** Milliseconds in which an answer that nothing keeps back has come. */
const SOON_MS = 300;

type Kept = typeof keptModule;
const keptWithout = async (off: readonly string[]): Promise<Kept> => await import(weakened(KEPT, { off }));

/** A machine that keeps keys, on its disk and its own keeper, until it is closed. */
async function keepingOn(
  { KeptEpochs, KEPT_COLLECTION }: Kept,
  disk: FakeDisk,
  keeper: FakeKeeper,
  advanceAnew?: () => Promise<number>,
) {
  const log = await disk.open();
  const collections = new Map([[KEPT_COLLECTION, { retention: Number.POSITIVE_INFINITY }]]);
  const store = await SealedStore.open({ log, keeper, clock: new TestClock(), system: 'keeper', collections });
  const collection = store.collections.get(KEPT_COLLECTION);
  if (collection === undefined) throw new TypeError('no collection');
  const record = () => log.place(entry('key')).durable;
  const sealing = { advanceAnew: advanceAnew ?? (() => store.advanceAnew()) };
  const kept = await KeptEpochs.open({ store: sealing, collection, record });
  return { kept, store, log };
}

async function fresh(module: Kept, advanceAnew?: () => Promise<number>) {
  return (await keepingOn(module, new FakeDisk(8 * MIB), new FakeKeeper(), advanceAnew)).kept;
}

/** Whether a keeper's host has an asker's epoch go back by the end of the keeper's disk. */
async function cutsTail(off: readonly string[]): Promise<boolean> {
  const module = await keptWithout(off);
  const [disk, keeper] = [new FakeDisk(8 * MIB), new FakeKeeper()];
  const first = await keepingOn(module, disk, keeper);
  await first.kept.advance(asking(), 0, key(), 0);
  await first.store.advance();
  const before = disk.copy();
  await first.kept.advance(asking(), 1, key(), 0);
  await first.store.close();
  const { kept } = await keepingOn(module, before, keeper);
  return (await kept.release(asking())).epoch === 1;
}

/** Whether an asker is told of an epoch that the keeper's host can still cut off. */
async function tellsEarly(off: readonly string[]): Promise<boolean> {
  const kept = await fresh(await keptWithout(off), () => new Promise(() => {}));
  void kept.advance(asking(), 0, key(), 0);
  await new Promise((resolve) => setTimeout(resolve, 1));
  return await comes(settling(kept.release(asking())), SOON_MS);
}

/** Whether a machine of yesterday has its epoch begin anew. */
async function goesBack(off: readonly string[]): Promise<boolean> {
  const kept = await fresh(await keptWithout(off));
  for (const from of [0, 1, 2]) await kept.advance(asking(), from, key(), 0);
  await passes(() => kept.advance(asking(), 1, key(), 0));
  return (await kept.release(asking())).epoch < 3;
}

/** Whether a question that the network held back takes the epoch that a machine is writing. */
async function keepsHeld(off: readonly string[]): Promise<boolean> {
  const kept = await fresh(await keptWithout(off));
  const held = kept.instant;
  await kept.release(asking());
  return passes(() => kept.advance(asking(), 0, key(), held));
}

/** Whether strangers can have keys of any number of identities kept. */
async function fills(off: readonly string[]): Promise<boolean> {
  const kept = await fresh(await keptWithout(off), async () => 0);
  for (let i = 0; i < 80; i++) {
    const policy = digestText('sha384', sha384(utf8(String(i))));
    if (!(await passes(() => kept.advance(asking({ ...IDENTITY, policy }), 0, key(), 0)))) return false;
  }
  return true;
}

/** Whether a machine under another policy has the key. */
async function crossesPolicies(off: readonly string[]): Promise<boolean> {
  const kept = await fresh(await keptWithout(off));
  await kept.advance(asking(), 0, key(), 0);
  const policy = digestText('sha384', sha384(utf8('a policy that lets everything out')));
  return (await kept.release(asking({ ...IDENTITY, policy }))).key !== undefined;
}

/** A machine as an attacker has it. */
interface Machine {
  readonly owner?: typeof OWNER;
  readonly measurement?: Uint8Array;
  readonly storage?: CurrentBootStatement['storage'] | null;
}
const PEER_KEPT = { keeper: 'peer', epoch: 0, began: 'asking' } as const;

/** Evidence of a machine on SEV-SNP for a nonce and a connection. */
async function evidenceOfMachine(
  { owner = OWNER, measurement, storage = PEER_KEPT }: Machine,
  nonce: Uint8Array,
  exporter: Uint8Array,
): Promise<Uint8Array> {
  const policy = canonicalPolicy(policyOf(owner));
  const digest = policyDigest(policyOf(owner));
  const commandLine = launchCommandLine({ commandLine: LINE }, digest);
  const { measure } = await snpLaunch({ id: IMAGE, commandLine: LINE });
  const launched = measurement ?? (await measure(commandLine));
  const keys = makeBootKeys();
  const bootId = toHex(randomBytes(16));
  const statement: CurrentBootStatement = {
    ...{ version: 3, platform: 'snp', bootId, policy: digest, image: 'pretend', unconfined: [], owner },
    bundle: digestText('sha384', sha384(utf8('bundle'))),
    device: { ak: null, ek: null, ekCertificate: null },
    keys: { tls: digestText('sha256', keys.tls.spkiDigest), receipt: keys.receipt, log: keys.log },
    log: { origin: `kept/${bootId}`, size: 0, root: digestText('sha256', merkleRoot([])), minimum: 0, left: 1 },
    started: { at: new Date(now()).toISOString(), strength: 'host' },
    ...(storage && { storage }),
  };
  const bytes = encodeStatement(statement);
  const boot = bootDigest(bytes);
  const batcher = new QuoteBatcher(async (root) => ({
    case: 'snp',
    value: {
      report: psp.report({ reportData: Buffer.concat([root, boot]), measurement: launched }),
      ...{ certificates: [psp.leaf, psp.ask, psp.ark], crl: psp.crl(), commandLine },
    },
  }));
  const signed = await batcher.add(encodeNonceLeaf({ nonce, spki: keys.tls.spkiDigest, exporter }));
  const platform = { kind: 'snp' } as Parameters<typeof evidenceOf>[1]['platform'];
  return toBinary(EvidenceSchema, evidenceOf(signed, { platform, statement: bytes, policy }));
}

async function keepsMachines(): Promise<KeptMachines> {
  const { reference } = await snpLaunch({ id: IMAGE, commandLine: LINE });
  const anchors = {
    ...{ attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] },
    unsafeSiliconRoots: psp.pins,
  };
  const references = JSON.stringify({ enclaim: 'references/1', images: [], anchors, snp: [reference] });
  return { owners: [OWNER], images: [IMAGE], references };
}

/** What is shown to a keeper for its challenge, on this connection. */
type Show = (challenge: Uint8Array, exporter: Uint8Array) => Promise<Uint8Array>;

/** The policy of a machine of ours. */
const policyOf = (owner: string) =>
  parsePolicy(`enclaim: 1
system: { name: kept, owner: { name: Test, contact: test@example.invalid, key: "${owner}" }, version: 1 }
`);

/** Connections to one keeper, which keeps keys under the policy of our machines. */
async function keeperOf(off: readonly string[], isAttested = true, release?: () => Promise<never>) {
  const { KeeperService } = (await import(weakened(SERVICE, { off }))) as typeof serviceModule;
  let looked = 0;
  const known = policyDigest(policyOf(OWNER));
  const service = new KeeperService({
    kept: {
      instant: 0,
      isKept: (policy) => policy === known,
      release: release ?? (async () => ({ epoch: 1, key: key() })),
      advance: async () => 1,
    },
    keeps: await keepsMachines(),
    now: () => {
      looked++;
      return now();
    },
  });
  const connect = () => {
    const exporter = randomBytes(32);
    const connection = { isAttested, number: '1', exporter: () => exporter };
    const ask = (name: string, bytes: Uint8Array): Promise<CallEnd> =>
      new Promise((resolve) => {
        const [, method] = service.methods.find(([path]) => path.endsWith(`/${name}`)) ?? [];
        method?.serve({ connection, next: async () => bytes, end: resolve } as unknown as GrpcCall);
      });
    return async (show: Show): Promise<CallEnd> => {
      const { response } = await ask('Challenge', new Uint8Array());
      const { challenge } = fromBinary(ChallengeResponseSchema, response ?? new Uint8Array());
      const evidence = await show(challenge, exporter);
      return ask('Release', toBinary(ReleaseRequestSchema, create(ReleaseRequestSchema, { evidence })));
    };
  };
  return { connect, looked: () => looked };
}

const honest: Show = (challenge, exporter) =>
  evidenceOfMachine({}, keeperNonce(challenge, { kind: 'release' }), exporter);
const nothing: Show = async () => randomBytes(64);
const isGiven = ({ status }: CallEnd): boolean => status === 0;

/** Whether a machine is given a key. */
async function gives(off: readonly string[], machine: Machine): Promise<boolean> {
  const release = (await keeperOf(off)).connect();
  const show: Show = (challenge, exporter) =>
    evidenceOfMachine(machine, keeperNonce(challenge, { kind: 'release' }), exporter);
  return isGiven(await release(show));
}

/** Whether evidence that a machine shows on another connection, to any client, has its key given. */
async function relays(off: readonly string[]): Promise<boolean> {
  const release = (await keeperOf(off)).connect();
  const show: Show = (challenge) => evidenceOfMachine({}, keeperNonce(challenge, { kind: 'release' }), randomBytes(32));
  return isGiven(await release(show));
}

/** Whether evidence for a nonce that was chosen before the keeper's challenge has a key given. */
async function choosesNonce(off: readonly string[]): Promise<boolean> {
  const release = (await keeperOf(off)).connect();
  const chosen = keeperNonce(new Uint8Array(32), { kind: 'release' });
  return isGiven(await release((_, exporter) => evidenceOfMachine({}, chosen, exporter)));
}

/** How many of some false proofs a keeper looks at, of one connection or of as many at once. */
async function looks(off: readonly string[], attempts: number, isAtOnce: boolean): Promise<number> {
  const { connect, looked } = await keeperOf(off);
  const one = connect();
  if (isAtOnce) await Promise.all(Array.from({ length: attempts }, () => connect()(nothing)));
  else for (let i = 0; i < attempts; i++) await one(nothing);
  return looked();
}

/** Asks on connections of their own, in this order, once all are ready for their questions. */
async function atOnce(connect: () => (show: Show) => Promise<CallEnd>, shows: readonly Show[]): Promise<CallEnd[]> {
  const goes = shows.map(() => Promise.withResolvers<void>());
  let ready = 0;
  return await Promise.all(
    shows.map((show, i) =>
      connect()(async (challenge, exporter) => {
        const evidence = await show(challenge, exporter);
        if (++ready === shows.length) for (const go of goes) go.resolve();
        await goes[i]?.promise;
        return evidence;
      }),
    ),
  );
}

/** Whether askers under policies that they made up keep a machine from its key. */
async function crowds(off: readonly string[]): Promise<boolean> {
  const { connect } = await keeperOf(off);
  const stranger: Show = (challenge, exporter) =>
    evidenceOfMachine({ owner: STRANGER }, keeperNonce(challenge, { kind: 'release' }), exporter);
  const ends = await atOnce(connect, [...Array.from({ length: 12 }, () => stranger), honest]);
  return !isGiven(ends.at(-1) ?? { status: 0 });
}

/** Whether one machine has more of its questions wait than four. */
async function asksOften(off: readonly string[]): Promise<boolean> {
  let answering = 0;
  const { connect } = await keeperOf(off, true, () => {
    answering++;
    return new Promise(() => {});
  });
  for (let i = 0; i < 8; i++) {
    const before = answering;
    const isOver = settling(connect()(honest));
    while (answering === before && !isOver()) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return answering > 4;
}

/** A peer that gives these answers, one by one. */
async function peerOf(off: readonly string[], answers: { epoch: number; key: Uint8Array }[], lost = false) {
  const { PeerKeeper } = (await import(weakened(PEER, { off }))) as typeof peerModule;
  const { RefusalError } = await import('../../runtime/src/errors.ts');
  const { KeeperDescriptor } = await import('@enclaim/attestation/keeper');
  const ask = async (method: { name: string }) => {
    if (method.name === KeeperDescriptor.method.advance.name) {
      if (lost) throw new RefusalError('keeper', 'refused', { cause: Object.assign(new Error(), { status: 10 }) });
      return create(AdvanceResponseSchema, { epoch: 1n });
    }
    const { epoch, key: given } = answers.shift() ?? { epoch: 0, key: new Uint8Array() };
    return create(ReleaseResponseSchema, { epoch: BigInt(epoch), key: given });
  };
  const keeper = { statement: { policy: IDENTITY.policy }, bootDigest: randomBytes(32) };
  const link = { keeper, ask, close: () => {} };
  const options = {} as ConstructorParameters<typeof PeerKeeper>[0];
  return new PeerKeeper(options, (async () => [link, new Uint8Array()]) as unknown as peerModule.OpenLink);
}

/** Whether a peer has a boot go back to an epoch before one that it was told of. */
async function tellsLess(off: readonly string[]): Promise<boolean> {
  const peer = await peerOf(off, [
    { epoch: 5, key: key() },
    { epoch: 4, key: key() },
  ]);
  await peer.epoch();
  return passes(() => peer.epoch());
}

/** Whether a boot takes for its own the epoch that a copy of its disk began at the same time. */
async function forks(off: readonly string[]): Promise<boolean> {
  const peer = await peerOf(
    off,
    [
      { epoch: 0, key: new Uint8Array() },
      { epoch: 1, key: key() },
    ],
    true,
  );
  await peer.epoch();
  await peer.seal(key(), 1);
  await passes(() => peer.advance());
  return passes(() => peer.epoch());
}

/** Whether a client takes a boot for one with its state that has none yet. */
async function acceptsAsking(off: readonly string[]): Promise<boolean> {
  const { appraiseStorage } = (await import(weakened(STORAGE, { off }))) as typeof storageModule;
  const statement = { version: 3, platform: 'snp', storage: PEER_KEPT } as unknown as CurrentBootStatement;
  return appraiseStorage(statement, {}).every(({ outcome }) => outcome === 'passed');
}

/** Whether a client takes a boot whose keys a machine keeps that its policy does not name. */
async function acceptsPeer(off: readonly string[]): Promise<boolean> {
  const { appraiseStorage } = (await import(weakened(STORAGE, { off }))) as typeof storageModule;
  const [named, other] = ['a', 'b'].map((text) => digestText('sha384', sha384(utf8(text))));
  const storage = { keeper: 'peer', epoch: 3, began: 'kept', peer: { policy: other, boot: BOOT } };
  const statement = { version: 3, platform: 'snp', policy: named, storage } as unknown as CurrentBootStatement;
  const policy = { storage: { epoch: 'PT1M', keeper: { policy: named } } } as unknown as Policy;
  return appraiseStorage(statement, policy).every(({ outcome }) => outcome === 'passed');
}

function attackOf(layer: string, name: string, act: (off: readonly string[]) => Promise<boolean>): Attack {
  return { group: 'keeper', name, layer, attempt: () => act([]), control: () => act([layer]) };
}

/** Every attack on keys that a peer keeps. */
export const keeperAttacks: readonly Attack[] = [
  attackOf('kept epochs are sealed before the answer', "cut a machine's epoch off the keeper's disk", cutsTail),
  attackOf('epochs are told once they are sealed', 'learn an epoch that can still be cut off', tellsEarly),
  attackOf('kept epochs only go up', 'begin an epoch that was before', goesBack),
  attackOf('questions from before an epoch was told', 'hold a question back until its key is gone', keepsHeld),
  attackOf('number of identities', 'have keys kept without an end', fills),
  attackOf('keys by policy', 'have the key under another policy', crossesPolicies),
  attackOf('evidence of an asker for this connection', 'show evidence that the machine gave its client', relays),
  attackOf('challenges of the keeper', 'show evidence for a nonce that was chosen before', choosesNonce),
  attackOf('machines that have a peer as keeper', 'take a key as a machine that has none kept', (off) =>
    gives(off, { storage: null }),
  ),
  attackOf('owners whose keys are kept', 'have the key of a stranger kept', (off) => gives(off, { owner: STRANGER })),
  attackOf('images whose keys are kept', 'have the key with another image', (off) =>
    gives(off, { measurement: sha384(utf8('an image that tells what it has')) }),
  ),
  attackOf('false askers of a connection', 'have chains verified without an end', async (off) => {
    return (await looks(off, 8, false)) > 4;
  }),
  attackOf('askers that wait for a look', 'have many chains verified at once', async (off) => {
    return (await looks(off, 12, true)) > 8;
  }),
  attackOf('room of askers whose keys are kept', 'keep a machine from its key by made-up policies', crowds),
  attackOf('questions of one identity', 'have many questions of one machine wait', asksOften),
  attackOf('kept keys on attested connections', 'take a key on a connection without evidence', async (off) => {
    return isGiven(await (await keeperOf(off, false)).connect()(honest));
  }),
  attackOf("a peer's epochs within a boot", 'tell a boot of an epoch that was before', tellsLess),
  attackOf('epochs that another machine began', 'go on with two machines at once', forks),
  attackOf('boots that still ask', 'have a client take a boot without its state', acceptsAsking),
  attackOf('peers that the policy names', 'have another machine keep the keys, and a client take it', acceptsPeer),
];
