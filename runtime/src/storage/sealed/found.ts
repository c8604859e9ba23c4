/** State as a boot finds it on its disk: of its own launch, of one before it, or none. */

import { randomBytes } from 'node:crypto';
import { fromBase64, fromHex, toHex } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, type Sha256 } from '@enclaim/attestation/digest';
import { HEIR_BYTES } from '@enclaim/attestation/log-disk';
import { succeededState } from '@enclaim/attestation/succession';
import { RefusalError } from '../../errors.ts';
import type { RecordLog } from '../../log/record-log.ts';
import type { StateSection } from '../../log/state-disk.ts';
import { ROOM, type Room } from '../bounds.ts';
import type { RecordForm } from '../record-form.ts';
import { BLINDING_KEY_BYTES, TERM_BYTES } from '../terms.ts';
import { Epoch } from './epoch.ts';
import { type OpenedFrame, openFrame } from './frame.ts';
import { readHeir, SUCCESSION_COLLECTION } from './heir.ts';
import { IndexTable } from './index-table.ts';
import { EPOCH_KEY_BYTES, type Keeper, type Passage, passageOf, statedPassage } from './keeper.ts';
import { type RecoveryJudge, recoveryBefore, recoveryOn } from './recoveries.ts';
import { SealedCollection, type Shared } from './sealed-collection.ts';
import { type EpochSeals, epochSeals, wipeSeals } from './seals.ts';
import {
  type Coming,
  HEAD_BYTES,
  type Lineage,
  openFacts,
  readHead,
  readIndex,
  type SlotFacts,
  type SlotHead,
  type SlotNames,
} from './slot.ts';
import type { Taken } from './taken.ts';

/** Bytes of the index that callers leave to secrets and successions; a part of a small one. */
const OWNERS = { most: 128 * 1024, part: 8 };
/** Part of a slot that prefixes and tags of its chunks take, at most: one of so many. */
const CHUNKS_SHARE = 64;
/** A block without a seal has none that opens. */
const NO_SEAL = new Uint8Array();

/** A sealed collection of the policy. */
export interface KeptCollection {
  readonly retention: number;
  readonly room?: Room;
  /** By default its records are any JSON. */
  readonly form?: RecordForm | undefined;
}

/** The parts that a sealed store needs. */
export interface SealedStoreOptions {
  readonly keeper: Keeper;
  /** Opened, with nothing placed by this boot yet. */
  readonly log: RecordLog;
  /** Name of the system: state of another does not open. */
  readonly system: string;
  /** The sealed collections of the policy. */
  readonly collections: ReadonlyMap<string, KeptCollection>;
  /**
   * Judges a succession by which a disk brings state of another launch.
   *
   * @throws RefusalError `state`; absent where none is taken over
   */
  readonly inherits?: ((succession: Uint8Array) => Promise<Inheritance>) | undefined;
  /** Judges a recovery that a disk brings. Absent where none is taken. */
  readonly recovers?: RecoveryJudge | undefined;
  /** The boot's clock: milliseconds since 1970, which never go back. */
  readonly clock: { now(): number; notBefore(wall: number): void };
}

/** A succession that holds, as the store needs it. */
export interface Inheritance {
  readonly digest: Sha256;
  /** The name of the state that it passes. */
  readonly state: DigestText<'sha256'>;
  readonly passage: Passage;
}

/** State as it was found, not yet of this boot's epoch. */
export interface Found {
  readonly table: IndexTable;
  readonly epoch: Epoch;
  readonly shared: Shared;
  readonly kept: readonly SealedCollection[];
  /** Retentions under which collections were kept, by number. */
  readonly retentions: readonly (number | null)[];
  /** Shapes by which the terms of their rows were made, by number; undefined without terms. */
  readonly shapes: readonly (string | undefined)[];
  readonly slot: number;
  /** The keeper's epoch: 0 where the state is another launch's still. */
  readonly present: number;
  readonly lineage: Lineage;
  readonly inherited: Inheritance | null;
  readonly recovered: DigestText<'sha256'> | null;
}

/** Finds the state of the keeper's present epoch. */
export async function find(options: SealedStoreOptions): Promise<Found> {
  const { keeper, log } = options;
  const present = await keeper.epoch();
  const heads = [await readHead(log.state, 0), await readHead(log.state, 1)].flatMap((head) => head ?? []);
  const ours = heads.filter(({ epoch }) => epoch === present);
  if (present > 0 && ours.length > 0) return await kept(options, ours);
  const inherited = present === 0 ? await inherit(options, heads) : undefined;
  if (inherited !== undefined) return inherited;
  if (present === 0 && (await isBlank(options, heads))) return blank(options);
  const known = heads.map(({ epoch }) => epoch);
  const has = known.length === 0 ? 'no stored state' : `stored state of epoch ${Math.max(...known)}`;
  throw new RefusalError('state', `the disk has ${has}, and the keeper is at epoch ${present}`);
}

/**
 * State of this launch. After a succession two indexes can have one epoch's number: the other is of
 * the launch before, and its key opens for that alone.
 */
async function kept(options: SealedStoreOptions, heads: readonly SlotHead[]): Promise<Found> {
  let refused: unknown;
  for (const head of heads) {
    const key = await options.keeper.open(head.blob).catch((error: unknown) => {
      refused ??= error;
    });
    if (key !== undefined) return await load(options, head, key, null);
  }
  throw refused;
}

/**
 * State that another launch has handed over to this one; undefined if none did.
 *
 * @throws RefusalError `state`, `keeper` for one that was not to
 */
async function inherit(options: SealedStoreOptions, heads: readonly SlotHead[]): Promise<Found | undefined> {
  const { keeper, log, inherits } = options;
  let refused: unknown;
  for (const head of heads) {
    const heir = await readHeir(log.state, head.slot);
    if (heir === undefined || heir.epoch !== head.epoch || keeper.heirs === undefined || inherits === undefined)
      continue;
    try {
      const inheritance = await inherits(heir.succession);
      const key = await keeper.heirs.takeOver(heir.blob, inheritance.passage);
      return await load(options, head, key, inheritance);
    } catch (error) {
      refused ??= error;
    }
  }
  if (refused !== undefined) throw refused;
  return undefined;
}

/** How a state's name goes on. @throws RefusalError `state` if the succession is of another */
function lineageOf(
  { slot, epoch }: SlotHead,
  { lineage = { name: freshName(), even: 0 } }: SlotNames,
  inherited: Inheritance | null,
): Lineage {
  if (slot !== (epoch + lineage.even) % 2) throw new RefusalError('state', 'an index in the slot of another epoch');
  if (inherited === null) return lineage;
  if (lineage.name !== inherited.state)
    throw new RefusalError('state', `the succession is of the state ${inherited.state}, and this is another`);
  const { digest, passage, state } = inherited;
  const { recoveredBefore } = lineage;
  const unretired: Coming = { passage: statedPassage(passage), digest: toHex(digest), state, epoch };
  return {
    ...{ name: succeededState(state, digest), even: slot, unretired },
    ...(recoveredBefore && { recoveredBefore }),
  };
}

/** The inheritance of an earlier boot, which has still to be recorded; null if there is none. */
async function resumed({ unretired }: Lineage, { heirs }: Keeper): Promise<Inheritance | null> {
  if (unretired === undefined) return null;
  const passage = passageOf(unretired.passage);
  await heirs?.resume(passage);
  return { digest: fromHex(unretired.digest) as Sha256, state: unretired.state, passage };
}

/**
 * Has this boot say by which recovery it goes on: one that the disk brings, or that of an earlier
 * boot that has still to be recorded; undefined without one.
 *
 * @throws RefusalError `state` where that cannot be said; `keeper`
 */
async function recoveredBy(
  recovery: DigestText<'sha256'> | undefined,
  { recovered, unretired }: Lineage,
  { recover }: Keeper,
): Promise<DigestText<'sha256'> | undefined> {
  const by = recovery ?? recovered;
  if (by === undefined) return undefined;
  if (unretired !== undefined) throw new RefusalError('state', 'a recovery of state that was just taken over');
  if (recover === undefined) throw new RefusalError('state', 'a recovery, where no boot states one');
  await recover(by);
  return by;
}

/** A lineage with the recovery that this boot says, or that a launch before it said. */
async function withRecovery(
  { log, keeper, recovers }: SealedStoreOptions,
  { epoch }: SlotHead,
  lineage: Lineage,
  isInherited: boolean,
): Promise<Lineage> {
  if (isInherited) {
    const recoveredBefore = await recoveryBefore(log, epoch, lineage.recoveredBefore);
    return recoveredBefore === undefined ? lineage : { ...lineage, recoveredBefore };
  }
  const recovery = await recoveryOn(log, epoch, recovers, lineage.recoveredBefore);
  const recovered = await recoveredBy(recovery, lineage, keeper);
  return recovered === undefined ? lineage : { ...lineage, recovered };
}

/**
 * Refuses to go on with state that an heir has taken over.
 *
 * Without this, a host could keep this disk and this launch's counter, from before the heir ended
 * it, let the heir's first boot be cut off, go on here, and go back to the heir's disk later.
 * @throws RefusalError `state`, `keeper`
 */
async function refuseTakenOver({ heir }: SlotNames, { heirs }: Keeper): Promise<void> {
  if (heir === undefined) return;
  const epoch = await heirs?.epochOfHeir(passageOf(heir.passage));
  // layer: heirs that have begun
  if (epoch !== 0)
    throw new RefusalError('state', `the state was taken over by succession ${heir.digest}: its heir has an epoch`);
}

/** A name that no other state has. */
function freshName(): DigestText<'sha256'> {
  return digestText('sha256', randomBytes(32));
}

/** Whether nothing was ever stored: at most, a first boot ended before the keeper's first step. */
async function isBlank({ log }: SealedStoreOptions, known: readonly SlotHead[]): Promise<boolean> {
  if (known.some(({ epoch }) => epoch !== 1)) return false;
  return known.length === 0 || !(await log.state.hasSections());
}

function blank(options: SealedStoreOptions): Found {
  const table = new IndexTable(options.log.state.journalBytes);
  const empty: SlotNames = { labels: [], owners: [], collections: [], extents: [], rows: 0, bytes: 0 };
  const found = assembled(options, table, new Epoch(options.system), empty);
  const lineage = { name: freshName(), even: 0 };
  return { ...found, retentions: [], shapes: [], slot: 0, present: 0, lineage, inherited: null, recovered: null };
}

/** Loads the state of a slot. Where it is refused, no key of it is left. */
async function load(
  options: SealedStoreOptions,
  head: SlotHead,
  key: Uint8Array,
  inherited: Inheritance | null,
): Promise<Found> {
  const { log, system } = options;
  if (key.length !== EPOCH_KEY_BYTES) throw new RefusalError('keeper', `a key of ${key.length} bytes`);
  const seals: EpochSeals = epochSeals(key, system);
  const table = new IndexTable(log.state.journalBytes);
  const epoch = new Epoch(system);
  try {
    return await followed(options, { head, seals, table, epoch, inherited }, key);
  } catch (error) {
    epoch.end();
    table.close();
    throw error;
  } finally {
    key.fill(0);
    wipeSeals(seals);
  }
}

/** The parts of a state that is being loaded. */
interface Loading {
  /** The succession by which another launch hands it over; null where it is this launch's. */
  readonly inherited: Inheritance | null;
  readonly head: SlotHead;
  readonly seals: EpochSeals;
  readonly table: IndexTable;
  readonly epoch: Epoch;
}

/** Reads an index, and follows the journal behind it. */
async function followed(
  options: SealedStoreOptions,
  { head, seals, table, epoch, inherited }: Loading,
  key: Uint8Array,
): Promise<Found> {
  const { log, clock } = options;
  const facts = openFacts(head, seals);
  await demandLog(log, facts);
  const names = await readIndex(log.state, head, facts, seals, table);
  const before = lineageOf(head, names, inherited);
  if (inherited === null) await refuseTakenOver(names, options.keeper);
  const came = inherited ?? (await resumed(before, options.keeper));
  const lineage = await withRecovery(options, head, before, inherited !== null);
  for (const [number, block, count] of names.extents) table.extents.set(number, { block, count });
  table.restore(names);
  epoch.begin(head.epoch, key);
  const found = assembled(options, table, epoch, names);
  const from = { position: facts.position, prior: fromHex(facts.prior), size: facts.size };
  let blocks = 0;
  const onBlock = (facts: Uint8Array, seal: Uint8Array = NO_SEAL): void => {
    seals.blocks.open(blocks++, facts, seal);
  };
  let { time } = facts;
  const onSection = (section: StateSection, block: number): void => {
    const frame = openFrame(seals.frames, head.epoch, epoch.next(), section);
    replay(found.kept, frame, block);
    time = Math.max(time, frame.time);
  };
  await log.state.follow(from, onSection, onBlock);
  clock.notBefore(time);
  const retentions = names.collections.map(({ retention }) => retention);
  const present = inherited === null ? head.epoch : 0;
  const shapes = names.collections.map(({ shape }) => shape);
  const { recovered = null } = lineage;
  return { ...found, retentions, shapes, slot: head.slot, present, lineage, inherited: came, recovered };
}

/** Makes the changes of a frame in its collection. */
function replay(
  kept: readonly SealedCollection[],
  { collection: name, changed, moved }: OpenedFrame,
  block: number,
): void {
  const collection = kept.find(({ facts }) => facts.name === name);
  if (collection === undefined) throw new RefusalError('state', 'changes of a collection that the index does not name');
  for (const { key, place, stays } of changed)
    if (stays) collection.replay(key, collection.staying(key, place));
    else collection.replay(key, place, block);
  for (const { key, from, value } of moved) collection.move(key, from, value, block);
}

/** @throws RefusalError `state` if the log was cut, or is another */
async function demandLog(log: RecordLog, { size, root }: SlotFacts): Promise<void> {
  const { size: durable } = log.durable;
  if (size > durable)
    throw new RefusalError('state', `a log of ${durable} records, and stored state that was written with ${size}`);
  if (size >= log.minimum && toHex(await log.rootAt(size)) !== root)
    throw new RefusalError(
      'state',
      `the log is not the one that the stored state was written with, of ${size} records`,
    );
}

/** Collections of the disk and of the policy, over a table. */
function assembled(
  { log, system, collections, clock }: SealedStoreOptions,
  table: IndexTable,
  epoch: Epoch,
  names: SlotNames,
): Pick<Found, 'table' | 'epoch' | 'shared' | 'kept'> {
  const { slotBytes } = log.state;
  // A slot that is not much larger hands nothing over: that is refused, and the index is not.
  const heir = collections.has(SUCCESSION_COLLECTION) && slotBytes >= 2 * HEIR_BYTES ? HEIR_BYTES : 0;
  const most = slotBytes - HEAD_BYTES - Math.ceil(slotBytes / CHUNKS_SHARE) - heir;
  const shared: Shared = {
    ...{ system, log, table, epoch },
    blinding: names.blinding === undefined ? randomBytes(BLINDING_KEY_BYTES) : fromBase64(names.blinding),
    now: () => clock.now(),
    most,
    owners: Math.min(OWNERS.most, Math.floor(most / OWNERS.part)),
    pending: 0,
    checked: new Map(),
    sweep: () => {},
    due: () => {},
  };
  const all = new Map(names.collections.map((each) => [each.name, each]));
  const isNew = [...collections.keys()].filter((name) => !all.has(name));
  const kept = [...all.keys(), ...isNew].map((name, number) => {
    const { used = [], retention: before = null } = all.get(name) ?? {};
    const { retention = before ?? Number.POSITIVE_INFINITY, room = ROOM, form } = collections.get(name) ?? {};
    const taken: Taken = { size: used.reduce((sum, [, bytes]) => sum + bytes, 0), of: new Map(used) };
    return new SealedCollection(shared, { name, number, retention, room, form }, taken);
  });
  table.names(kept.map(({ facts: { name, form } }) => ({ name, terms: TERM_BYTES * (form?.fields.length ?? 0) })));
  return { table, epoch, shared, kept };
}
