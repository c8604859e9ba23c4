/** The runtime: admission, keys, log, statement, evidence, then the server. */

import { randomBytes } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import { concat, fromUtf8, toHex } from '@enclaim/attestation/bytes';
import { digestText, type Sha256, sha256 } from '@enclaim/attestation/digest';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import {
  bootDigest,
  type CurrentBootStatement,
  encodeStatement,
  type StatedStorage,
  type VmLayer,
} from '@enclaim/attestation/statement';
import { type PolicyDigest, quotedWithin, secondsOf } from '@enclaim/policy-schema/admission';
import { type Admission, admit } from './admission/admission.ts';
import { cosigningRules } from './admission/cosigning-rules.ts';
import { type BootKeys, makeBootKeys } from './boot/keys.ts';
import type { CallsOptions } from './call/caller.ts';
import { Calls } from './call/calls.ts';
import { type Attested, evidenceFor, evidenceOf } from './channel/handshake.ts';
import type { SecretsSource } from './channel/secrets-service.ts';
import { AttestedServer } from './channel/server.ts';
import { anchorTime, BootClock, type TimeAnchor } from './clock.ts';
import type { KernelState } from './control.ts';
import { EgressBroker } from './egress/broker.ts';
import { PeerKeeper } from './egress/peer-keeper.ts';
import { askServers, type Resolve } from './egress/resolver.ts';
import { SealedVault, VAULT_COLLECTION } from './egress/sealed-vault.ts';
import { type Vault, VolatileVault } from './egress/vault.ts';
import { Epochs, RoomEpochs } from './epochs.ts';
import { RefusalError } from './errors.ts';
import { type Capacity, ResourceGovernor } from './governor/resources.ts';
import { Checkpoints } from './hardware/checkpoints.ts';
import type { AttestingPlatform } from './hardware/platform.ts';
import { QuoteBatcher } from './hardware/quote-batch.ts';
import { hasPeer, keepingOf, keepsKeys, peerKeeper, type ShownBoot } from './kept-keys.ts';
import { Cosignatures } from './log/cosignatures.ts';
import type { Device } from './log/device.ts';
import {
  bootRecord,
  cosignedRecord,
  type EntryOptions,
  endRecord,
  epochRecord,
  forkRecord,
  lateEpochRecord,
  quoteRecord,
  recoveryRecord,
  roomRecord,
  secretRecord,
  successionRecord,
  unkeptRecord,
  unwitnessedRecord,
} from './log/entry.ts';
import { ReceiptSigner } from './log/receipts.ts';
import { type Entry, RecordLog } from './log/record-log.ts';
import { Segments } from './log/segments.ts';
import { Serving } from './serving.ts';
import { retentionOf } from './storage/retention.ts';
import type { KeptCollection } from './storage/sealed/found.ts';
import type { Keeper } from './storage/sealed/keeper.ts';
import { KEPT_COLLECTION } from './storage/sealed/kept-epochs.ts';
import { recoveriesUnder } from './storage/sealed/recoveries.ts';
import { SealedStore } from './storage/sealed/sealed-store.ts';
import { inheritanceUnder, SUCCESSION_COLLECTION, Successions } from './storage/sealed/successions.ts';
import { WorkerClasses, workerShares } from './worker/classes.ts';
import type { WorkerFactory } from './worker/worker.ts';

/** Bytes of the log that an epoch gives back, at least, if it is said to: more than it writes. */
const MIN_GIVEN_BYTES = 4096;

/** Options that the supervisor hands over once everything is measured. */
export interface RuntimeOptions {
  readonly platform: AttestingPlatform;
  /** The three parts of the measured app bundle, and the digests that were extended. */
  readonly bundle: {
    readonly policy: Uint8Array;
    readonly descriptors: Uint8Array;
    readonly handlers: Uint8Array;
    readonly policyDigest: PolicyDigest;
    readonly digest: `sha384:${string}`;
  };
  /** The base image's name for itself. */
  readonly image: string;
  /** The log's device, and the number of bytes that fit. */
  readonly log: { readonly device: Device; readonly capacity: number };
  readonly workers: {
    readonly factory: WorkerFactory;
    /** Number of workers in all; at least one for each class. */
    readonly size: number;
    /**
     * Layers that the workers start without. The boot statement names them, so that hardware signs
     * them.
     */
    readonly missing: readonly VmLayer[];
    /** Resources of all workers together, for handlers. */
    readonly capacity: Capacity;
  };
  readonly listen: { readonly host: string; readonly port: number };
  /** When this boot began, by the host's clock. Default: now. */
  readonly time?: TimeAnchor;
  /** In a VM: the kernel's state as the supervisor set it, for the first record of the boot. */
  readonly kernel?: KernelState;
  /** Keeps the keys of sealed collections over boots. Undefined where there is no keeper. */
  readonly keeper?: Keeper | undefined;
  /** Resolves the names of subprocessors. By default none is found. */
  readonly resolve?: Resolve;
  /** Receives why calls fail, on the machine of the handlers' author. Absent in the VM. */
  readonly onFailure?: CallsOptions['onFailure'];
}

/** A runtime that serves. */
export interface Runtime {
  readonly port: number;
  readonly admission: Admission;
  readonly statement: CurrentBootStatement;
  /**
   * Stops taking calls, lets those under way end, records the end of this boot, and ends the
   * workers. Takes seconds at most.
   */
  close(): Promise<void>;
}

/**
 * Starts serving. Nothing is exposed before admission, a durable log and evidence are there.
 *
 * @throws RefusalError; nothing is left running then
 */
export async function startRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { bundle, platform } = options;
  const admission = admit(bundle.policy, bundle.descriptors, bundle.policyDigest, options.workers.capacity);
  const governor = governorOf(admission, options.workers);
  const keys = makeBootKeys();
  const { log, clock } = await logOf(options);
  await using started = new AsyncDisposableStack();
  const stating = statingOf(options, { admission, keys, log, clock });
  const keeper = await keeperOf(options, { admission, keys, clock }, stating);
  const store = await storeOf(keeper, { admission, log, clock }, started);
  const statement = stating.statement(storageOf(keeper, store));
  const statementBytes = encodeStatement(statement);
  const boot = bootDigest(statementBytes);
  const pool = started.adopt(await workersOf(options, admission, governor), (it) => it.close());
  await platform.state?.(statementBytes);
  const batcher = new QuoteBatcher((root) => platform.sign(root, boot));
  const said = { admission, clock };
  const vault = await vaultOf(store, said);
  const calls = new Calls({
    admission,
    pool,
    log,
    receipts: new ReceiptSigner(keys.signReceipts),
    boot,
    clock,
    egress: egressOf(options, admission, clock, vault),
    ...(store && { sealed: store.collections }),
    onFailure: options.onFailure,
    ...(governor !== undefined && { governor }),
  });
  const attested = stating.attest(attestedBy(options, keys, batcher, statementBytes));
  const { readers = [], ...evidenceRules } = admission.policy.evidence;
  const checkpoints = started.adopt(
    new Checkpoints({
      log,
      origin: statement.log.origin,
      keys,
      quotes: batcher,
      within: quotedWithin(evidenceRules),
      evidenceOf: (signed) => evidenceOf(signed, attested),
      keep: keptQuotes(log, { admission, clock }),
      onOverdue: (isOverdue) => tellOverdue(isOverdue),
    }),
    (it) => it.close(),
  );
  // The first quote shows that the platform can attest at all; until then health says NOT_SERVING.
  const tls = { key: keys.tls.key, certificate: keys.certificate(await bootEvidence(attested)) };
  const cosignatures = cosignaturesOf(log, statement, admission, () => ({ serving, said }));
  const source = { log, checkpoints, earlier: log.earlier, cosignatures, readers, boot };
  const secrets = secretsOf(log, said, vault, boot);
  const states = await stateServices(store, log, said);
  const server = started.adopt(
    new AttestedServer({ tls, admission, calls, attested, log: source, secrets, ...states }),
    async (it) => void (await it.close()),
  );
  const serving = new Serving(calls, server);
  const tellOverdue = holdToQuotes(serving, log, said);
  const segments = new Segments({ ...said, log });
  // Written before any call can write a record.
  const facts = { governor, kernel: options.kernel, final: store?.final };
  await log.append(bootRecord(said, statement, log, facts), 'runtime');
  if (store !== undefined) await takeOver(store, log, said);
  const port = await server.listen(options.listen.host, options.listen.port);
  holdToRoom(serving, log, { admission, clock });
  const epochs = store && holdToEpochs(serving, store, log, said);
  const running = started.move();
  const close = async (): Promise<void> => {
    const cut = await server.close();
    calls.close();
    await Promise.all([states.successions?.close(), epochs?.close(), states.keeping?.close()]);
    await recordEnd(log, segments, said, cut);
    await running.disposeAsync();
  };
  return { port, admission, statement, close };
}

function egressOf(
  { resolve = askServers([]) }: RuntimeOptions,
  { policy }: Admission,
  clock: BootClock,
  vault: Vault,
): EgressBroker {
  return new EgressBroker({ subprocessors: policy.subprocessors, resolve, vault, now: () => clock.now() });
}

/** Names of the secrets that subprocessors are shown. */
function secretsIn({ subprocessors }: Admission['policy']): ReadonlySet<string> {
  const shown = Object.values(subprocessors).flatMap(({ credential }) => credential ?? []);
  return new Set(shown.map((each) => ('certificate' in each ? each.certificate : each.secret)));
}

/** Names of secrets that are client certificates. */
function certificatesIn({ subprocessors }: Admission['policy']): ReadonlySet<string> {
  const shown = Object.values(subprocessors).flatMap(({ credential }) => credential ?? []);
  return new Set(shown.flatMap((each) => ('certificate' in each ? each.certificate : [])));
}

/** Values of secrets: kept over boots where a policy has sealed collections, else for this one. */
async function vaultOf(
  store: SealedStore | undefined,
  { admission, clock }: { readonly admission: Admission; readonly clock: BootClock },
): Promise<Vault> {
  const now = (): number => clock.now();
  const collection = store?.collections.get(VAULT_COLLECTION);
  if (collection === undefined) return new VolatileVault(now);
  return await SealedVault.open(collection, { names: secretsIn(admission.policy), now });
}

/** The policy's secrets as its owner brings them; undefined if it names none. */
function secretsOf(log: RecordLog, said: EntryOptions, vault: Vault, boot: Sha256): SecretsSource | undefined {
  const { key } = said.admission.policy.system.owner;
  const names = secretsIn(said.admission.policy);
  if (names.size === 0 || key === 'none') return undefined;
  return {
    vault,
    names,
    certificates: certificatesIn(said.admission.policy),
    owner: key,
    boot,
    record: (change, name) => log.place(secretRecord(said, change, name), 'runtime').durable,
  };
}

/** The services of what is stored: its successions, and keys of other machines. */
async function stateServices(
  store: SealedStore | undefined,
  log: RecordLog,
  said: EntryOptions & { readonly clock: BootClock },
) {
  return { successions: await successionsOf(store, log, said), keeping: await keepingOf(store, log, said) };
}

/** Successions of a policy that has some, and that stores something. */
async function successionsOf(
  store: SealedStore | undefined,
  log: RecordLog,
  said: EntryOptions & { readonly clock: BootClock },
): Promise<Successions | undefined> {
  const collection = store?.collections.get(SUCCESSION_COLLECTION);
  if (store === undefined || collection === undefined) return undefined;
  const { clock, admission } = said;
  return await Successions.open({
    ...{ store, collection, clock, policy: admission.digest },
    record: (step, digest) => log.place(successionRecord(said, step, digest), 'runtime').durable,
  });
}

/**
 * Records where the state of this boot came from, and ends the launch before: it opens nothing from
 * then on, so that this comes last before this one serves.
 */
async function takeOver(store: SealedStore, log: RecordLog, said: EntryOptions): Promise<void> {
  const { inherited, recovered } = store.opened;
  if (inherited !== null)
    await log.append(successionRecord(said, 'inherited', digestText('sha256', inherited.digest)), 'runtime');
  if (recovered !== null) await log.append(recoveryRecord(said, recovered), 'runtime');
  await store.retire();
}

/**
 * Closes the last segment and records the end of the boot. A log that has failed has refused the
 * records of its last calls already, so such a boot ends without either.
 */
async function recordEnd(log: RecordLog, segments: Segments, said: EntryOptions, cut: number): Promise<void> {
  segments.close();
  await log.append(endRecord(said, cut), 'runtime').catch(() => {});
}

/** Serves while the log has room. */
function holdToRoom(serving: Serving, log: RecordLog, said: EntryOptions): void {
  if (log.room === 'ample') serving.allow('room');
  else serving.stop('room', `the log is nearly full: ${log.left} bytes are left for calls, and this boot serves none`);
  log.onRoom((room) => {
    if (room === 'ample') return serving.allow('room');
    if (room === 'none') return serving.stop('room', 'the log is full');
    serving.pause('room');
    // Not awaited: the record of the call that took the room precedes it.
    log.append(roomRecord(said, log), 'runtime').catch(() => {});
  });
}

/**
 * Serves while the hardware quotes the log.
 *
 * **Trust**: receipts promise a quote within a time. Where none came for many times as long, no
 * further promise is given.
 */
function holdToQuotes(serving: Serving, log: RecordLog, said: EntryOptions): (isOverdue: boolean) => void {
  return (isOverdue) => {
    if (isOverdue) serving.stop('quotes', 'the hardware gave no quote of the log for too long');
    else serving.allow('quotes');
    log.append(quoteRecord(said, isOverdue), 'runtime').catch(() => {});
  };
}

function attestedBy(
  { platform, bundle: { policy } }: RuntimeOptions,
  { tls: { spkiDigest } }: BootKeys,
  batcher: QuoteBatcher,
  statement: Uint8Array,
): Attested {
  return { platform, batcher, statement, policy, spkiDigest };
}

/** Opens the log, and a clock that goes on from its newest record. @throws RefusalError `log` */
async function logOf({
  log: { device, capacity },
  time,
}: RuntimeOptions): Promise<{ log: RecordLog; clock: BootClock }> {
  const log = await RecordLog.open(device, capacity);
  const clock = new BootClock(time ?? anchorTime());
  // The newest record was written before this boot: no later one may be older than it.
  if (log.newest !== null) clock.notBefore(Date.parse(log.newest));
  return { log, clock };
}

function workersOf(
  { bundle, workers }: RuntimeOptions,
  { classes }: Admission,
  governor: ResourceGovernor | undefined,
): Promise<WorkerClasses> {
  const handlers = { code: fromUtf8(bundle.handlers), metered: governor !== undefined };
  return WorkerClasses.start({ ...workers, ...(governor && { stall: governor.patience }) }, handlers, classes);
}

/**
 * Opens the sealed collections of a policy, and begins an epoch of them.
 *
 * @returns undefined if the policy has none
 * @throws RefusalError `claim` where nothing keeps their keys; `state`, `keeper`
 */
async function storeOf(
  keeper: Keeper | undefined,
  { admission, log, clock }: { readonly admission: Admission; readonly log: RecordLog; readonly clock: BootClock },
  started: AsyncDisposableStack,
): Promise<SealedStore | undefined> {
  const { system, collections } = admission.policy;
  const sealed = Object.entries(collections).filter(([, { storage }]) => storage === 'sealed');
  const [first] = sealed;
  const isKeeping = keepsKeys(admission.policy, keeper);
  if (first === undefined && !isKeeping) {
    if (admission.policy.storage?.keeps !== undefined)
      throw new RefusalError('claim', 'nothing keeps keys here: storage.keeps needs a TPM', {
        pointer: '/storage/keeps',
      });
    if (await SealedStore.isOn(log))
      throw new RefusalError('state', 'the disk has stored state, and no collection of the policy is sealed');
    return undefined;
  }
  if (keeper === undefined) {
    const names = sealed.map(([name]) => name).join(', ');
    const pointer = `/collections/${first?.[0]}/storage`;
    const needs = 'needs a TPM, or another machine that keeps its keys (storage.keeper)';
    throw new RefusalError('claim', `nothing keeps keys here: sealed storage of ${names} ${needs}`, { pointer });
  }
  const kept = new Map<string, KeptCollection>(
    sealed.map(([name, collection]) => {
      return [name, { retention: retentionOf(collection), form: admission.forms.get(name) }];
    }),
  );
  if (secretsIn(admission.policy).size > 0) kept.set(VAULT_COLLECTION, { retention: Number.POSITIVE_INFINITY });
  if (admission.policy.succession !== 'none' && keeper.heirs !== undefined)
    kept.set(SUCCESSION_COLLECTION, { retention: Number.POSITIVE_INFINITY });
  if (isKeeping) kept.set(KEPT_COLLECTION, { retention: Number.POSITIVE_INFINITY });
  const inherits = inheritanceUnder(admission.digest);
  const recovers = recoveriesUnder(admission.digest, admission.policy);
  const parts = { keeper, log, system: system.name, collections: kept, inherits, recovers, clock };
  const opened = await SealedStore.open(parts);
  return started.adopt(opened, (store) => store.close());
}

/** Storage as the boot statement has it. */
function storageOf(keeper: Keeper | undefined, store: SealedStore | undefined): StatedStorage | undefined {
  if (keeper === undefined || store === undefined) return undefined;
  const { epoch, inherited, recovered } = store.opened;
  const peer = keeper instanceof PeerKeeper ? keeper.peer : undefined;
  const said = { keeper: keeper.kind, epoch: store.began, ...(peer && { peer }) };
  if (recovered !== null) return { ...said, began: 'recovered', recovery: recovered };
  if (inherited === null) return { ...said, began: epoch === 0 ? 'new' : 'kept' };
  const { policy, from } = inherited.passage;
  return {
    ...said,
    began: 'inherited',
    predecessor: { policy, registers: digestText('sha256', sha256(concat(...from))) },
  };
}

/**
 * Begins epochs as often as the policy says, and serves while they begin; and one where the present
 * one holds space that calls lack. Each that begins counts for both.
 */
function holdToEpochs(
  serving: Serving,
  store: SealedStore,
  log: RecordLog,
  said: EntryOptions,
): { close(): Promise<unknown> } {
  const { storage } = said.admission.policy;
  const record = epochRecorder(store, log, said);
  const forRoom = new RoomEpochs({
    isHeld: () => log.isHeld,
    advance: async () => {
      const { start } = log;
      await store.advance();
      const gave = log.start - start >= MIN_GIVEN_BYTES;
      if (gave) record();
      inTime?.began();
      return gave;
    },
  });
  log.onHeld(() => forRoom.look());
  const inTime =
    storage &&
    new Epochs({
      every: secondsOf(storage.epoch) * 1000,
      advance: async () => {
        await store.advance();
        record();
        forRoom.began();
      },
      onOverdue: (isOverdue) => {
        if (isOverdue) serving.stop('epochs', 'no epoch of what is stored began for too long');
        else serving.allow('epochs');
        log.append(lateEpochRecord(said, isOverdue), 'runtime').catch(() => {});
      },
    });
  return { close: () => Promise.all([inTime?.close(), forRoom.close()]) };
}

/**
 * Records epochs, each once: one can have begun for two reasons.
 *
 * It takes room of calls alone: else a boot that runs on where that is full would fill what is kept
 * for the records of boots.
 */
function epochRecorder(store: SealedStore, log: RecordLog, said: EntryOptions): () => void {
  let last = 0;
  return () => {
    const { final } = store;
    if (final.epoch <= last) return;
    last = final.epoch;
    log.append(epochRecord(said, final)).catch(() => {});
  };
}

/** Keeps quotes on the disk for later boots, and records once that one could not be kept. */
function keptQuotes(log: RecordLog, said: EntryOptions): (quote: Uint8Array) => Promise<void> {
  let isTold = false;
  return async (quote) => {
    if ((await log.keepQuote(quote)) || isTold) return;
    isTold = true;
    log.append(unkeptRecord(said, quote.length, log.quoteRoom), 'runtime').catch(() => {});
  };
}

/**
 * The word of witnesses and mirror, as the policy has it: records of it, refusals while they are
 * away, and the end of serving where they cosigned another tree.
 */
function cosignaturesOf(
  log: RecordLog,
  { log: { origin } }: CurrentBootStatement,
  { policy }: Admission,
  boot: () => { readonly serving: Serving; readonly said: EntryOptions },
): Cosignatures {
  const append = (entry: (said: EntryOptions) => Entry): Promise<unknown> => log.append(entry(boot().said), 'runtime');
  return new Cosignatures(log, origin, cosigningRules(policy.evidence), {
    noted: async (size) => {
      const { index, durable } = log.place(cosignedRecord(boot().said, size), 'runtime');
      await durable;
      return index;
    },
    unwitnessed: (isOver, records) => {
      if (isOver) boot().serving.stop('witnesses', `${records} records are beyond the last cosigned checkpoint`);
      else boot().serving.allow('witnesses');
      append((said) => unwitnessedRecord(said, isOver, records)).catch(() => {});
    },
    forked: (size) => {
      boot().serving.stop('fork', 'witnesses have cosigned another tree than that of this log');
      append((said) => forkRecord(said, size)).catch(() => {});
    },
  });
}

/**
 * Evidence for a random nonce, to travel in the certificate. It leaves out the policy and the event
 * log, because either may be larger than a certificate.
 */
async function bootEvidence(attested: Attested): Promise<Uint8Array> {
  const nothing = new Uint8Array();
  const evidence = await evidenceFor({ nonce: randomBytes(32), exporter: null }, { ...attested, policy: nothing });
  if (evidence.hardware.case === 'tdx') evidence.hardware.value.eventLog = nothing;
  return toBinary(EvidenceSchema, evidence);
}

/** The statement of a boot, and what its keeper is shown of it until then. */
interface Stating {
  readonly shown: ShownBoot;
  /** From now on the keeper is shown this. */
  attest(attested: Attested): Attested;
  statement(storage: StatedStorage | undefined): CurrentBootStatement;
}

/** The facts that a boot states of itself, always of one id and one beginning. */
function statingOf(
  options: RuntimeOptions,
  {
    admission,
    keys,
    log,
    clock,
  }: Pick<EntryOptions, 'admission'> & {
    readonly keys: BootKeys;
    readonly log: RecordLog;
    readonly clock: BootClock;
  },
): Stating {
  const begun = { bootId: toHex(randomBytes(16)), at: clock.text() };
  const shown: ShownBoot = { attested: undefined };
  return {
    shown,
    attest: (attested) => {
      shown.attested = attested;
      return attested;
    },
    statement: (storage) => bootStatement(options, admission, keys, log, begun, storage),
  };
}

/**
 * The keeper of the state's keys: this machine's own, or the other one that the policy names, which
 * is shown first that this boot asks.
 *
 * @throws RefusalError `policy`
 */
async function keeperOf(
  options: RuntimeOptions,
  { admission, keys, clock }: { readonly admission: Admission; readonly keys: BootKeys; readonly clock: BootClock },
  { shown, attest, statement }: Stating,
): Promise<Keeper | undefined> {
  const { keeper, platform, resolve = askServers([]) } = options;
  if (keeper !== undefined || !hasPeer(admission.policy)) return keeper;
  const asking = encodeStatement(statement({ keeper: 'peer', epoch: 0, began: 'asking' }));
  await platform.state?.(asking);
  const digest = bootDigest(asking);
  const batcher = new QuoteBatcher((root) => platform.sign(root, digest));
  attest(attestedBy(options, keys, batcher, asking));
  return peerKeeper(admission, resolve, clock, shown);
}

function bootStatement(
  { platform, bundle, image, workers }: RuntimeOptions,
  admission: Admission,
  keys: BootKeys,
  log: RecordLog,
  { bootId, at }: { readonly bootId: string; readonly at: string },
  storage: StatedStorage | undefined,
): CurrentBootStatement {
  const digestOf = (bytes: Uint8Array | null) => (bytes === null ? null : digestText('sha256', sha256(bytes)));
  const { ak, ek, ekCertificate } = platform.device;
  const ownerKey = admission.policy.system.owner.key;
  return {
    version: 3,
    platform: platform.kind,
    bootId,
    policy: admission.digest,
    bundle: bundle.digest,
    image,
    device: { ak: digestOf(ak), ek: digestOf(ek), ekCertificate: digestOf(ekCertificate) },
    ...(platform.eventLog === undefined ? {} : { events: digestText('sha256', sha256(platform.eventLog)) }),
    keys: { tls: digestText('sha256', keys.tls.spkiDigest), receipt: keys.receipt, log: keys.log },
    log: {
      origin: `${admission.policy.system.name}/${bootId}`,
      size: log.began.size,
      root: digestText('sha256', log.began.root),
      minimum: log.minimum,
      left: log.left,
    },
    unconfined: workers.missing,
    owner: ownerKey === 'none' ? null : ownerKey,
    started: { at, strength: 'host' },
    ...(storage && { storage }),
  };
}

function governorOf({ policy, classes }: Admission, workers: RuntimeOptions['workers']): ResourceGovernor | undefined {
  const { resources } = policy.governance;
  return resources === 'none'
    ? undefined
    : new ResourceGovernor(resources, workerShares(classes, workers), workers.capacity);
}
