/** State whose key a peer keeps is whole after a cut at every step, and never opens at an epoch of before. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { FakeKeeper } from '../../test/fakes/keeper.ts';
import { KeeperStatus } from '../src/egress/keeper-link.ts';
import type { OpenLink } from '../src/egress/peer-keeper.ts';
import { PeerKeeper } from '../src/egress/peer-keeper.ts';
import { RefusalError } from '../src/errors.ts';
import { STATUS } from '../src/refusals.ts';
import type { Collection } from '../src/storage/collection.ts';
import { KEPT_COLLECTION, KeptEpochs } from '../src/storage/sealed/kept-epochs.ts';
import { SealedStore } from '../src/storage/sealed/sealed-store.ts';
import { entry, FakeDisk } from './log/support.ts';
import { MIB, put, TestClock } from './sealed/support.ts';

const FOREVER = { retention: Number.POSITIVE_INFINITY };
const digest = digestText('sha256', sha256(randomBytes(1)));
const identity = {
  ...{ policy: digestText('sha384', sha384(randomBytes(1))), image: digest, owner: null, system: 'kept' },
} as const;
const asker = { identity, boot: digest };

/**
 * Where a connection fails: before the keeper hears a question, or before its answer is heard; the
 * network holds the question, or lets those that it holds go before it.
 */
type Fault = 'unheard' | 'unanswered' | 'held' | 'overtaken';

/** A machine that keeps keys, over boots. */
class KeepingMachine {
  readonly disk = new FakeDisk(8 * MIB);
  readonly keeper = new FakeKeeper();
  /** Faults of the next questions that begin an epoch. */
  readonly faults: (Fault | undefined)[] = [];
  /** What became of questions that were held, once they came. */
  readonly late: string[] = [];
  readonly #held: (() => Promise<unknown>)[] = [];
  isAway = false;
  #kept: KeptEpochs | undefined;
  #store: SealedStore | undefined;

  async boot(disk = this.disk): Promise<void> {
    await this.stop();
    const log = await disk.open();
    const collections = new Map([[KEPT_COLLECTION, FOREVER]]);
    const store = await SealedStore.open({
      ...{ log, collections, keeper: this.keeper, clock: new TestClock(), system: 'keeper' },
    });
    const collection = store.collections.get(KEPT_COLLECTION) ?? assert.fail();
    this.#store = store;
    this.#kept = await KeptEpochs.open({ store, collection, record: () => log.place(entry('key')).durable });
  }

  async stop(): Promise<void> {
    await this.#kept?.close();
    await this.#store?.close();
    this.#kept = undefined;
    this.#store = undefined;
  }

  /** The keeper as a machine reaches it. */
  get peer(): PeerKeeper {
    const options = {} as ConstructorParameters<typeof PeerKeeper>[0];
    return new PeerKeeper(options, ((_: unknown, question: Parameters<OpenLink>[1]) =>
      this.#open(question)) as OpenLink);
  }

  async #open(question: Parameters<OpenLink>[1]): Promise<unknown> {
    if (this.isAway) throw new RefusalError('keeper', 'away');
    const drawn = this.#kept?.instant ?? 0;
    const ask = async (): Promise<object> => {
      const kept = this.#kept;
      if (kept === undefined || this.isAway) throw new RefusalError('keeper', 'away');
      if (question.kind === 'release') {
        const { epoch, key = new Uint8Array() } = await kept.release(asker);
        return { epoch: BigInt(epoch), key };
      }
      const fault = this.faults.shift();
      if (fault === 'unheard') throw new RefusalError('keeper', 'cut');
      const key = Uint8Array.from(question.key);
      const begin = (): Promise<number> => kept.advance(asker, question.from, key, drawn);
      if (fault === 'held') {
        this.#held.push(begin);
        return new Promise(() => {});
      }
      if (fault === 'overtaken')
        for (const late of this.#held.splice(0))
          this.late.push(await late().then(String, ({ code }: RefusalError) => code));
      const epoch = await begin().catch((cause: unknown) => {
        const isConflict = cause instanceof RefusalError && cause.code === 'conflict';
        const status = new KeeperStatus({ code: isConflict ? STATUS.aborted : STATUS.unavailable, details: 'refused' });
        throw new RefusalError('keeper', 'refused', { cause: status });
      });
      if (fault === 'unanswered') throw new RefusalError('keeper', 'cut');
      return { epoch: BigInt(epoch) };
    };
    const keeper = { statement: { policy: identity.policy }, bootDigest: new Uint8Array(32) };
    return [{ keeper, ask, close: () => {} }, new Uint8Array()];
  }
}

const bootOf = async (disk: FakeDisk, keeper: PeerKeeper): Promise<SealedStore> => {
  const log = await disk.open();
  return SealedStore.open({
    ...{ log, keeper, clock: new TestClock(), system: 'test' },
    collections: new Map([['cases', FOREVER]]),
  });
};

/** Stores a value, durably. */
async function stores(disk: FakeDisk, keeper: PeerKeeper, key: string): Promise<SealedStore> {
  const log = await disk.open();
  const collections = new Map([['cases', FOREVER]]);
  const store = await SealedStore.open({ log, keeper, clock: new TestClock(), system: 'test', collections });
  const cases = store.collections.get('cases') ?? assert.fail();
  const change = [put(key, 1)];
  cases.check(change);
  const { durable } = log.place(entry('call'));
  cases.apply(change);
  await durable;
  return store;
}

test('each boot begins the next epoch, also after boots of the keeper', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  for (const epoch of [1, 2, 3]) {
    await machine.boot();
    const store = await stores(disk, machine.peer, `k${epoch}`);
    assert.deepEqual([store.began, store.opened.epoch, store.places], [epoch, epoch - 1, epoch]);
    await store.close();
  }
  await machine.stop();
});

for (const fault of ['unheard', 'unanswered'] as const)
  test(`an answer that is ${fault} is asked for again, and one epoch begins`, async () => {
    const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
    await machine.boot();
    const store = await stores(disk, machine.peer, 'a');
    machine.faults.push(fault);
    assert.equal(await store.advance(), 2);
    await store.close();
    const next = await bootOf(disk, machine.peer);
    assert.deepEqual([next.opened.epoch, next.places], [2, 1]);
    await next.close();
    await machine.stop();
  });

test('a keeper that is away stops no epoch that goes on, and the next one begins when it is back', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  await machine.boot();
  const store = await stores(disk, machine.peer, 'a');
  machine.isAway = true;
  await assert.rejects(store.advance(), { code: 'keeper' });
  assert.equal(store.places, 1);
  machine.isAway = false;
  assert.equal(await store.advance(), 2);
  await store.close();
  await machine.stop();
});

test('a power cut before the keeper heard of the next epoch leaves the present one', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  await machine.boot();
  await (await stores(disk, machine.peer, 'a')).close();
  // The slot of the next epoch is written, and the machine ends.
  const peer = machine.peer;
  peer.advance = () => Promise.reject(new RefusalError('keeper', 'power cut'));
  await assert.rejects(bootOf(disk, peer), { code: 'keeper' });
  const next = await bootOf(disk, machine.peer);
  assert.deepEqual([next.opened.epoch, next.began, next.places], [1, 2, 1]);
  await next.close();
  await machine.stop();
});

test('a question of an earlier boot that the network held begins nothing once a later boot was told', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  await machine.boot();
  await (await stores(disk, machine.peer, 'a')).close();
  machine.faults.push('held', 'overtaken');
  // The machine ends while it waits.
  void bootOf(disk, machine.peer);
  while (machine.faults.length > 1) await turn();
  const next = await bootOf(disk, machine.peer);
  assert.deepEqual([machine.late, next.began], [['channel'], 2]);
  await next.close();
  const last = await bootOf(disk, machine.peer);
  assert.deepEqual([last.opened.epoch, last.places], [2, 1]);
  await last.close();
  await machine.stop();
});

test('a question of this boot that the network held begins nothing once the boot has gone on', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  const peer = machine.peer;
  await machine.boot();
  const store = await stores(disk, peer, 'a');
  machine.faults.push('held', 'overtaken');
  const advance = peer.advance.bind(peer);
  peer.advance = () => {
    peer.advance = advance;
    void advance();
    return Promise.reject(new RefusalError('keeper', 'timed out'));
  };
  await assert.rejects(store.advance(), { code: 'keeper' });
  assert.equal(await store.advance(), 2);
  assert.deepEqual(machine.late, ['channel']);
  await store.close();
  const next = await bootOf(disk, machine.peer);
  assert.deepEqual([next.opened.epoch, next.places], [2, 1]);
  await next.close();
  await machine.stop();
});

test('a question whose challenge is void is asked anew, with the same key', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  const peer = machine.peer;
  await machine.boot();
  const store = await stores(disk, peer, 'a');
  const advance = peer.advance.bind(peer);
  peer.advance = async () => {
    // A copy of the machine asks, and goes no further.
    await machine.peer.epoch();
    return advance();
  };
  assert.equal(await store.advance(), 2);
  await store.close();
  const next = await bootOf(disk, machine.peer);
  assert.deepEqual([next.opened.epoch, next.places], [2, 1]);
  await next.close();
  await machine.stop();
});

test('yesterday’s disk, and a copy that another boot has gone on with, are refused', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  await machine.boot();
  const running = await stores(disk, machine.peer, 'a');
  const copy = disk.copy();
  const other = await bootOf(copy, machine.peer);
  assert.equal(other.began, 2);
  await assert.rejects(running.advance(), { code: 'keeper' });
  await assert.rejects(bootOf(disk, machine.peer), { code: 'keeper', message: /another machine went on/ });
  await other.advance();
  await assert.rejects(bootOf(disk, machine.peer), { code: 'state' });
  await Promise.all([running.close(), other.close()]);
  await machine.stop();
});

test('the keeper’s disk of yesterday does not boot, and one that is cut off goes back to nothing that was told', async () => {
  const [machine, disk] = [new KeepingMachine(), new FakeDisk(8 * MIB)];
  await machine.boot();
  const before = machine.disk.copy();
  await (await stores(disk, machine.peer, 'a')).close();
  await machine.stop();
  await assert.rejects(machine.boot(before), { code: 'state' });
  await machine.boot();
  const next = await bootOf(disk, machine.peer);
  assert.equal(next.opened.epoch, 1);
  await next.close();
  await machine.stop();
});

test('an epoch that begins while the one before is sealed is told once it is sealed itself', async () => {
  const seals: (() => void)[] = [];
  const collection = { list: () => ({ keys: [], label: [] }), check: () => {}, apply: () => {} };
  const kept = await KeptEpochs.open({
    store: { advanceAnew: () => new Promise<never>((resolve) => seals.push(() => resolve(undefined as never))) },
    collection: collection as unknown as Collection,
    record: async () => {},
  });
  const seal = async (): Promise<void> => {
    while (seals.length === 0) await turn();
    seals.shift()?.();
  };
  const first = kept.advance(asker, 0, new Uint8Array(32).fill(1), 0);
  while (seals.length === 0) await turn();
  let told: number | undefined;
  const released = kept.release(asker).then(({ epoch }) => (told = epoch));
  const second = kept.advance(asker, 1, new Uint8Array(32).fill(2), 0);
  await turn();
  await seal();
  await first;
  await turn();
  assert.equal(told, undefined);
  await seal();
  await Promise.all([released, second]);
  assert.equal(told, 2);
  await kept.close();
});

test('a keeper that has no room for a question is asked again, and one that refuses is not', async () => {
  const answers: (number | undefined)[] = [STATUS.resourceExhausted, undefined, STATUS.permissionDenied];
  let asked = 0;
  const ask = async (): Promise<object> => {
    asked++;
    const code = answers.shift();
    if (code === undefined) return { epoch: 0n, key: new Uint8Array() };
    throw new RefusalError('keeper', 'refused', { cause: new KeeperStatus({ code, details: 'refused' }) });
  };
  const keeper = { statement: { policy: identity.policy }, bootDigest: new Uint8Array(32) };
  const open = async () => [{ keeper, ask, close: () => {} }, new Uint8Array()];
  const peer = new PeerKeeper({} as ConstructorParameters<typeof PeerKeeper>[0], open as unknown as OpenLink);
  assert.deepEqual([await peer.epoch(), asked], [0, 2]);
  await assert.rejects(peer.epoch(), { code: 'keeper' });
  assert.equal(asked, 3);
});

test('the policies that keys are kept under are known again after a boot', async () => {
  const disk = new FakeDisk(8 * MIB);
  const keeper = new FakeKeeper();
  const opened = async () => {
    const log = await disk.open();
    const collections = new Map([[KEPT_COLLECTION, FOREVER]]);
    const store = await SealedStore.open({ log, collections, keeper, clock: new TestClock(), system: 'keeper' });
    const collection = store.collections.get(KEPT_COLLECTION) ?? assert.fail();
    return { store, kept: await KeptEpochs.open({ store, collection, record: () => log.place(entry('key')).durable }) };
  };
  const first = await opened();
  assert.equal(first.kept.isKept(identity.policy), false);
  await first.kept.advance(asker, 0, randomBytes(32), 0);
  await first.kept.close();
  await first.store.close();
  const next = await opened();
  assert.deepEqual([next.kept.isKept(identity.policy), next.kept.isKept(digest)], [true, false]);
  await next.kept.close();
  await next.store.close();
});
