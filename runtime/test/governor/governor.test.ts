/** The governor of resources: what the kernel says is parsed as hostile, and sums never exceed what there is. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { Resources } from '@enclaim/policy-schema/admission';
import { fc } from '../../../test/support/properties.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Guest, Place } from '../../src/governor/places.ts';
import {
  groupProcessorTime,
  KERNEL,
  processProcessorTime,
  type Readings,
  readMachine,
} from '../../src/governor/readings.ts';
import { ResourceGovernor } from '../../src/governor/resources.ts';
import { Account } from '../../src/worker/account.ts';

const MIB = 1024 * 1024;
const LIMITS: Resources = {
  memory: '64MiB',
  cpu: '500ms',
  wall: '5s',
  inFlight: 8,
  pressure: { memory: 20, cpu: 60 },
  thermal: 80,
  methods: { 'a.B/Small': { memory: '1MiB', cpu: '10ms', wall: '1s' } },
};
const CAPACITY = { memory: 128 * MIB, processors: 1 };
const CALM: Readings = { pressure: { memory: 0, cpu: 0 }, warmest: null };
const METHODS = ['a.B/Small', 'a.B/Large'] as const;

const governor = (limits: Partial<Resources> = {}, read = () => CALM, clock?: () => number): ResourceGovernor =>
  new ResourceGovernor({ ...LIMITS, ...limits }, [{ methods: METHODS, capacity: CAPACITY }], CAPACITY, read, clock);
const refusal =
  (code: string, pointer: string) =>
  (error: unknown): boolean =>
    error instanceof RefusalError && error.code === code && error.pointer === pointer;

/** A call of a connection of its own. */
const guest = (more: Partial<Guest> = {}): Guest => ({
  ...{ connection: {}, stream: false, signal: new AbortController().signal, end: () => {} },
  ...more,
});
/** Whether a call has been let in by now. */
async function settled(admitted: Promise<Place>): Promise<Place | undefined> {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  return Promise.race([admitted, undefined]);
}

describe('declarations', () => {
  test('are given back, and waited for until then, or for as long as the call lasts', async () => {
    const it = governor();
    const held = [await it.admit('a.B/Large', guest()), await it.admit('a.B/Large', guest())];
    const abort = new AbortController();
    const [given, late] = [it.admit('a.B/Small', guest()), it.admit('a.B/Large', guest({ signal: abort.signal }))];
    assert.equal(await settled(given), undefined);
    abort.abort(new RefusalError('budget', 'late'));
    await assert.rejects(late, { message: 'late' });
    held[0]?.[Symbol.dispose]();
    assert.notEqual(await settled(given), undefined);
    assert.equal(it.budgetOf('a.B/Small').wall, 1000);
  });

  test('of one connection leave as much free as it holds; too many that wait are refused', async () => {
    const it = governor({ methods: {}, memory: '8MiB', inFlight: 400, cpu: '10ms' });
    const connection = {};
    const calls = Array.from({ length: 264 }, () => it.admit('a.B/Large', guest({ connection })));
    assert.equal((await Promise.all(calls.map(settled))).filter((place) => place !== undefined).length, 8);
    await assert.rejects(it.admit('a.B/Large', guest({ connection })), {
      message: 'too many calls wait for what they declare',
    });
    assert.notEqual(await settled(it.admit('a.B/Large', guest())), undefined, 'another connection');
  });

  test('of one class never take more than its own workers have', async () => {
    const [one, seven] = [CAPACITY, { memory: 7 * CAPACITY.memory, processors: 7 }];
    const shares = [
      { methods: ['a.B/Large'], capacity: one },
      { methods: ['a.B/Small'], capacity: seven },
    ] as const;
    const all = { memory: 8 * CAPACITY.memory, processors: 8 };
    const it = new ResourceGovernor(LIMITS, shares, all, () => CALM);
    const held = [await it.admit('a.B/Large', guest()), await it.admit('a.B/Large', guest())];
    const third = it.admit('a.B/Large', guest());
    assert.equal(await settled(third), undefined, 'the workers of the other class are of no use to it');
    assert.notEqual(await settled(it.admit('a.B/Small', guest())), undefined);
    held[0]?.[Symbol.dispose]();
    assert.notEqual(await settled(third), undefined);
  });

  test('beyond the workers of a class are refused at the start, however many others there are', () => {
    const small = { memory: 32 * MIB, processors: 1 };
    const shares = [
      { methods: ['a.B/Large'], capacity: small },
      { methods: ['a.B/Small'], capacity: CAPACITY },
    ] as const;
    const start = (): unknown => new ResourceGovernor(LIMITS, shares, { memory: 160 * MIB, processors: 2 }, () => CALM);
    assert.throws(start, refusal('claim', '/governance/resources/memory'));
  });

  test('of memory are kept while a caller is waited for, and those of a processor are not', async () => {
    const it = governor({ methods: {}, memory: '8MiB', cpu: '2500ms', wall: '5s' });
    const [one, two] = [await it.admit('a.B/Large', guest()), await it.admit('a.B/Large', guest())];
    const three = it.admit('a.B/Large', guest());
    assert.equal(await settled(three), undefined);
    const caller = Promise.withResolvers<void>();
    const back = one.whileAway(caller.promise);
    assert.notEqual(await settled(three), undefined);
    caller.resolve();
    two[Symbol.dispose]();
    await back;
  });

  test('decide how long a worker may stand still: twice what a call may work', () => {
    assert.equal(governor().patience, 2000);
    assert.equal(governor({ cpu: '4s' }).patience, 8000);
  });

  test('that no worker could meet are refused before anything is served', () => {
    assert.throws(() => governor({ memory: '129MiB' }), refusal('claim', '/governance/resources/memory'));
    assert.throws(() => governor({ cpu: '6s' }), refusal('claim', '/governance/resources/cpu'));
    const methods = { 'a.B/Small': { memory: '1GiB', cpu: '10ms', wall: '1s' } };
    assert.throws(() => governor({ methods }), refusal('claim', '/governance/resources/methods/a.B~1Small/memory'));
  });

  test('whatever comes and goes, never exceed what there is, and leave nothing behind', async () => {
    const loads = { Large: [64, 100], Small: [1, 10] } as const;
    const program = fc.array(fc.tuple(fc.boolean(), fc.constantFrom('Large', 'Small'), fc.nat(20)), { maxLength: 100 });
    await fc.assert(
      fc.asyncProperty(program, async (steps) => {
        const it = governor();
        const held = new Map<Place, readonly [number, number]>();
        let [coming, beyond] = [0, 0];
        const comes = (kind: 'Large' | 'Small', connection: number): void => {
          coming++;
          void it.admit(`a.B/${kind}`, guest({ connection })).then((place) => {
            coming--;
            held.set(place, loads[kind]);
            const sums = [...held.values()].reduce(([a, b], [memory, share]) => [a + memory, b + share], [0, 0]);
            if (held.size > 8 || sums[0] > 128 || sums[1] > 1000) beyond++;
          });
        };
        const goes = async (which: number): Promise<void> => {
          const gone = [...held.keys()][which % (held.size || 1)];
          if (gone !== undefined) held.delete(gone);
          gone?.[Symbol.dispose]();
          gone?.[Symbol.dispose]();
          await Promise.resolve();
        };
        for (const [isComing, kind, which] of steps) {
          if (isComing) comes(kind, which % 4);
          else await goes(which);
        }
        for (let turn = 0; held.size + coming > 0 && turn < 1000; turn++) {
          await goes(0);
          await new Promise(setImmediate);
        }
        assert.deepEqual([coming, beyond], [0, 0]);
        await Promise.all([guest(), guest()].map((each) => it.admit('a.B/Large', each)));
      }),
    );
  });
});

describe('a machine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-kernel-'));
  after(() => rmSync(folder, { recursive: true }));
  const from = { pressure: join(folder, 'pressure'), thermal: join(folder, 'thermal') };
  const zone = join(from.thermal, 'thermal_zone0');
  mkdirSync(from.pressure);
  mkdirSync(zone, { recursive: true });
  const psi = (avg10: string): string => `some avg10=${avg10} avg60=0.00 avg300=0.00 total=1\nfull avg10=9.00\n`;
  const show = (cpu: string, memory: string, temperature: string): void => {
    writeFileSync(join(from.pressure, 'cpu'), cpu);
    writeFileSync(join(from.pressure, 'memory'), memory);
    writeFileSync(join(zone, 'temp'), temperature);
  };

  test('shows pressure and its warmest sensor; this one does too', () => {
    show(psi('12.50'), psi('0.00'), '61500\n');
    assert.deepEqual(readMachine(from), { pressure: { cpu: 12.5, memory: 0 }, warmest: 61.5 });
    assert.equal(readMachine({ ...from, thermal: null }).warmest, null);
    assert.equal(readMachine({ ...from, thermal: join(folder, 'none') }).warmest, null);
    assert(readMachine({ ...KERNEL, thermal: null }).pressure.cpu >= 0);
  });

  test('that shows anything else is not calm', () => {
    for (const [cpu, temperature] of [
      ['', '1\n'],
      ['some avg10=NaN avg60=0.00 avg300=0.00 total=1\n', '1\n'],
      [`some avg10=1.00${'0'.repeat(10_000)}`, '1\n'],
      [psi('-1.00'), '1\n'],
      [psi('1.00'), ''],
      [psi('1.00'), '1e9\n'],
      [psi('1.00'), '12345678\n'],
    ] as const) {
      show(cpu, psi('0.00'), temperature);
      assert.throws(() => readMachine(from), SyntaxError, cpu.slice(0, 60));
    }
    show(psi('0.00'), psi('0.00'), '1\n');
    for (let at = 1; at < 80; at++) mkdirSync(join(from.thermal, `thermal_zone${at}`));
    assert.throws(() => readMachine(from), RangeError);
  });

  test('without pressure serves no policy that limits resources', () => {
    const blind = (): Readings => readMachine({ pressure: join(folder, 'none'), thermal: null });
    assert.throws(() => governor({}, blind), refusal('claim', '/governance/resources/pressure'));
  });

  test('is asked again after a second, refuses over its limits, and for good where a sensor goes', async () => {
    let [now, reading] = [0, CALM];
    const it = governor(
      {},
      () => reading,
      () => now,
    );
    const admits = async (later: number, next: Readings): Promise<boolean> => {
      now += later;
      reading = next;
      try {
        using _ = await it.admit('a.B/Small', guest());
        return true;
      } catch {
        return false;
      }
    };
    const strained = { ...CALM, pressure: { memory: 0, cpu: 60.01 } };
    assert.equal(await admits(500, strained), true, 'a reading holds for a second');
    assert.equal(await admits(1000, strained), false);
    assert.equal(await admits(1001, { ...CALM, pressure: { memory: 20, cpu: 60 } }), true, 'at the limit is within it');
    assert.equal(it.thermalObserved, false);
    const hot = governor(
      {},
      () => reading,
      () => now,
    );
    assert.equal(hot.thermalObserved, false);
    reading = { ...CALM, warmest: 80 };
    const warm = governor(
      {},
      () => reading,
      () => now,
    );
    assert.equal(warm.thermalObserved, true);
    await warm.admit('a.B/Small', guest());
    now += 2000;
    reading = CALM;
    await assert.rejects(warm.admit('a.B/Small', guest()), refusal('budget', '/governance/resources/thermal'));
  });

  test('counts the processor time of processes and groups', () => {
    const before = processProcessorTime(process.pid);
    for (const until = performance.now() + 300; performance.now() < until; );
    const counted = processProcessorTime(process.pid) - before;
    assert(counted > 20_000 && counted < 2_000_000, `${counted} µs`);
    assert.throws(() => processProcessorTime(2 ** 22 + 1));
    writeFileSync(join(folder, 'cpu.stat'), 'usage_usec 4711\nuser_usec 1\n');
    assert.equal(groupProcessorTime(folder), 4711);
    writeFileSync(join(folder, 'cpu.stat'), 'user_usec 1\nusage_usec 4711\n');
    assert.throws(() => groupProcessorTime(folder), SyntaxError);
  });
});

describe('the account of a worker', () => {
  const budget = { memory: MIB, processor: 100_000, wall: 1000, pointer: '/p' };
  const report = { kind: 'used', total: 0, heap: 10 * MIB, collected: false, calls: [] } as const;
  const opened = (kernel = () => 0): { account: Account; stopped: string[] } => {
    const [account, stopped]: [Account, string[]] = [new Account(kernel), []];
    account.take(report);
    for (const id of [1, 2]) account.open(id, budget, ({ pointer }) => void stopped.push(`${id} ${pointer}`));
    return { account, stopped };
  };

  test('stops the call that is over, and charges nobody else for it', () => {
    const { account, stopped } = opened();
    account.take({ ...report, total: 90_000, calls: [[1, 90_000]] });
    account.take({
      ...report,
      total: 190_001,
      calls: [
        [2, 90_000],
        [1, 10_001],
        [77, 1],
      ],
    });
    assert.deepEqual(stopped, ['1 /p/cpu']);
  });

  test('takes a worker that worked on after its first report for no liar, and one that says more than it did for one', () => {
    let counted = 700_000;
    const { account } = opened(() => counted); // the kernel's count beside the first report came long after it
    account.take({ ...report, total: 700_000 });
    assert.equal(account.exceeded(), false);
    counted = 800_000;
    account.take({ ...report, total: 950_000, calls: [[1, 250_000]] });
    assert.equal(account.exceeded(), true);
  });

  test('asks once for garbage to go before it judges memory, and judges one call by itself', () => {
    const { account, stopped } = opened();
    const large = { ...report, heap: 21 * MIB };
    assert.deepEqual([account.take(large), account.take(large)], ['collect', 'fine']);
    assert.equal(account.take({ ...large, collected: true }), 'exceeded');
    account.close(1);
    assert.equal(account.take({ ...large, collected: true }), 'fine');
    assert.deepEqual(stopped, ['2 /p/memory']);
  });

  test('believes the kernel where a worker says that it did nothing, and no report that takes something back', () => {
    let worked = 0;
    const { account, stopped } = opened(() => worked);
    worked = 199_000;
    assert.equal(account.exceeded(), false);
    worked = 201_000;
    assert.equal(account.exceeded(), true);
    account.take({
      ...report,
      total: 150_000,
      calls: [
        [1, 75_000],
        [2, 75_000],
      ],
    });
    assert.equal(account.exceeded(), false);
    account.close(1);
    worked = 500_000;
    assert.equal(account.exceeded(), true);
    assert.deepEqual(stopped, ['2 /p/cpu']);
    assert.throws(() => account.take({ ...report, total: 149_999 }), RangeError);
  });

  test('holds what the kernel counts against what calls are charged, whatever total is reported', () => {
    for (const [ahead, judged] of [
      [0, ['1 /p/cpu']],
      [50_000, ['1 /p/cpu']],
      [Number.MAX_SAFE_INTEGER - 10_000_000, []], // a lie says nothing of a call
    ] as const) {
      let worked = 1_000_000;
      const { account, stopped } = opened(() => worked);
      account.close(2);
      let over = false;
      for (let turn = 0; turn < 60 && !over; turn++) {
        worked += 100_000;
        account.take({ ...report, total: worked - 1_000_000 + ahead, calls: [[77, 100_000]] });
        over = account.exceeded();
      }
      assert.equal(over, true);
      assert(worked <= 3_000_000, `${worked} µs by then`);
      assert.deepEqual(stopped, judged);
    }
  });

  test('takes no charge for work that is still to come', () => {
    let worked = 0;
    const { account, stopped } = opened(() => worked);
    account.take({ ...report, total: 0, calls: [[1, Number.MAX_SAFE_INTEGER]] });
    assert.equal(account.exceeded(), false);
    for (let turn = 0; turn < 4; turn++) worked += 100_000;
    account.take({ ...report, total: worked });
    assert.equal(account.exceeded(), true);
    assert.deepEqual(stopped, ['1 /p/cpu']);
  });

  describe('and collections of garbage', () => {
    const large = { ...report, heap: 21 * MIB };
    /** An account of one call, a worker that works for nobody, and a clock. */
    const working = () => {
      let [worked, now] = [0, 0];
      const account = new Account(
        () => worked,
        () => now,
      );
      account.take(report);
      account.open(1, budget, () => {});
      return {
        account,
        now: () => now,
        total: () => worked,
        /** @param share of one processor */
        work: (milliseconds: number, share = 1) => {
          now += milliseconds;
          worked += milliseconds * share * 1000;
        },
      };
    };

    test('ends no worker for those that it asked for, before they are reported or after', () => {
      const { account, total, work } = working();
      let collections = 0;
      for (let round = 0; round < 300; round++) {
        work(100, 0.1);
        if (account.take({ ...large, total: total() }) === 'collect') {
          collections++;
          work(50, 2.5);
          assert.equal(account.exceeded(), false, `during collection ${collections}`);
          account.take({ ...report, total: total(), collected: true });
        }
        assert.equal(account.exceeded(), false, `after collection ${collections}`);
      }
      assert(collections > 20, `${collections} collections`);
    });

    test('asks for the next one after four times what the last one cost', () => {
      const { account, now, total, work } = working();
      assert.equal(account.take(large), 'collect');
      work(50, 2);
      account.take({ ...report, total: total(), collected: true });
      const over = now();
      while (account.take({ ...large, total: total() }) === 'fine') work(1, 0);
      assert.equal(now() - over, 400);
    });

    /** Milliseconds until a worker is ended that works for nobody, and reports as it likes. */
    const lasting = (reported: (asked: boolean) => object): number => {
      const { account, now, total, work } = working();
      let asked = false;
      while (!account.exceeded() && now() < 100_000) {
        work(100);
        asked = account.take({ ...large, ...reported(asked), total: total() }) === 'collect';
      }
      return now();
    };

    test('gives little for saying that all was a collection, and nothing for one that nobody asked for', () => {
      const honest = lasting(() => ({}));
      assert(honest <= 800, `${honest} ms`);
      const unasked = lasting(() => ({ heap: 10 * MIB, collected: true }));
      assert(unasked <= honest, `${unasked} ms`);
      const claimed = lasting((asked) => ({ collected: asked, ...(asked && { heap: 10 * MIB }) }));
      assert(claimed <= 1500, `${claimed} ms`);
    });

    test('says what was worked for a call, and so is no cost of a collection', () => {
      const { account, total, work } = working();
      account.open(2, { ...budget, processor: 10_000_000 }, () => {});
      for (let turn = 0; turn < 100; turn++) {
        work(100);
        const asked = account.take({ ...large, total: total(), calls: [[2, 100_000]] }) === 'collect';
        if (!asked) continue;
        work(50);
        account.take({ ...report, total: total(), collected: true, calls: [[2, 50_000]] });
        assert.equal(account.exceeded(), false);
        // Spaced as one that cost nothing.
        work(100);
        assert.equal(account.take({ ...large, total: total(), calls: [[2, 100_000]] }), 'collect');
        return;
      }
      assert.fail('no collection was asked for');
    });
  });

  test('lets a worker work for nobody for a quarter of the time, and for a call that has just ended', () => {
    let [worked, now] = [0, 0];
    const account = new Account(
      () => worked,
      () => now,
    );
    account.take(report);
    for (let id = 0; id < 300; id++) {
      account.open(id, budget, () => assert.fail());
      now += 100;
      worked += 100_000;
      account.take({
        ...report,
        total: worked,
        calls: [
          [id, 30_000],
          [id - 1, 50_000],
        ],
      });
      assert.equal(account.exceeded(), false, `call ${id}`);
      account.close(id);
    }
  });
});
