/** A connection holds no more than it leaves free, waiting calls take turns by connection, and a silent caller keeps nothing that another call needs. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RefusalError } from '../../src/errors.ts';
import { KEEPS_MS, type Load, type Place, Places, type Room } from '../../src/governor/places.ts';

const ROOM: Room = { whole: [4], waiting: 4, away: 3, unaryFirst: false, crowded: 'too many' };
const ONE: Load = { running: [1], away: [0] };

/** Calls by name; each notes that it was let in. */
class Calls {
  readonly in: string[] = [];
  readonly refused: string[] = [];
  readonly places = new Map<string, Place>();
  readonly #house: Places;
  readonly #load: Load;

  constructor(room: Partial<Room> = {}, load = ONE) {
    this.#house = new Places({ ...ROOM, ...room });
    this.#load = load;
  }

  /** The first letter of a name is its connection. */
  come(name: string, options: { stream?: boolean; signal?: AbortSignal } = {}): void {
    const refuse = (error: RefusalError): void => void this.refused.push(`${name}: ${error.message}`);
    const { stream = false, signal = new AbortController().signal } = options;
    const end = (error: RefusalError): void => {
      refuse(error);
      this.go(name);
    };
    this.#house.take({ connection: name[0], stream, signal, end }, this.#load).then((place) => {
      this.in.push(name);
      this.places.set(name, place);
    }, refuse);
  }

  /** Its caller says nothing any more. */
  fallSilent(name: string): void {
    this.places
      .get(name)
      ?.whileAway(new Promise(() => {}))
      .catch(() => {});
  }

  go(name: string): void {
    this.places.get(name)?.[Symbol.dispose]();
  }

  async settled(): Promise<readonly string[]> {
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    return this.in;
  }
}

describe('places', () => {
  test('a connection holds as much as it leaves free, and waiting calls take turns by connection', async () => {
    const calls = new Calls();
    for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1', 'd1']) calls.come(name);
    assert.deepEqual(await calls.settled(), ['a1', 'a2', 'b1', 'c1']);
    for (const name of ['a1', 'a2']) calls.go(name);
    assert.deepEqual(await calls.settled(), ['a1', 'a2', 'b1', 'c1', 'd1', 'a3']);
    calls.go('b1');
    assert.equal((await calls.settled()).at(-1), 'b2');
    for (const name of ['a3', 'b2']) calls.go(name);
    assert.equal((await calls.settled()).at(-1), 'a4');
    assert.deepEqual(calls.refused, []);
  });

  test('one connection alone holds half, and others find room beside it as long as any is left', async () => {
    const calls = new Calls({ whole: [64], waiting: 1000 });
    for (let at = 0; at < 100; at++) calls.come(`a${at}`);
    assert.equal((await calls.settled()).length, 32);
    for (const other of 'bcdefg') {
      for (let at = 0; at < 100; at++) calls.come(`${other}${at}`);
      assert.ok((await calls.settled()).includes(`${other}0`), other);
    }
  });

  test('each kind of thing has room of its own, and what exceeds one waits', async () => {
    const calls = new Calls({ whole: [100, 10] }, { running: [1, 4], away: [1, 4] });
    for (const name of ['a1', 'b1', 'c1']) calls.come(name);
    assert.deepEqual(await calls.settled(), ['a1', 'b1']);
    calls.go('a1');
    assert.deepEqual(await calls.settled(), ['a1', 'b1', 'c1']);
  });

  test('beyond the queue, the connection that has most waiting loses its newest', async () => {
    const calls = new Calls();
    for (const name of ['a1', 'a2', 'b1', 'c1', 'a3', 'a4', 'a5', 'a6', 'a7', 'd1']) calls.come(name);
    await calls.settled();
    assert.deepEqual(calls.refused, ['a7: too many', 'a6: too many']);
    for (const name of ['b1', 'c1']) calls.go(name);
    assert.deepEqual(await calls.settled(), ['a1', 'a2', 'b1', 'c1', 'd1']);
  });

  test('what a silent caller keeps is taken from the connection that keeps most, for one with fewer calls', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let now = 0;
    t.mock.method(performance, 'now', () => now);
    const calls = new Calls({ whole: [6], away: 100 }, { running: [1], away: [1] });
    for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'd1']) calls.come(name);
    await calls.settled();
    for (const name of ['a1', 'a2', 'b1', 'c1', 'd1']) calls.fallSilent(name);
    calls.come('e1');
    calls.come('a4');
    const pass = async (milliseconds: number): Promise<void> => {
      now += milliseconds;
      t.mock.timers.tick(milliseconds);
      await calls.settled();
    };
    await pass(KEEPS_MS - 1);
    assert.deepEqual(calls.refused, [], 'a caller may be slow');
    await pass(1);
    assert.deepEqual(calls.refused, ['a1: the caller let the call wait, and another needs what it keeps']);
    assert.equal(calls.in.at(-1), 'e1');
    await pass(10 * KEEPS_MS);
    assert.equal(calls.refused.length, 1, 'for a4 none is ended: no connection has more calls');
  });

  test('a call that is away holds no place, is counted, and comes back in its turn', async () => {
    const calls = new Calls({ whole: [1] });
    for (const name of ['a1', 'b1']) calls.come(name);
    await calls.settled();
    const caller = Promise.withResolvers<string>();
    const back = calls.places.get('a1')?.whileAway(caller.promise);
    assert.deepEqual(await calls.settled(), ['a1', 'b1']);
    caller.resolve('message');
    calls.come('c1');
    await calls.settled();
    calls.go('b1');
    assert.equal(await back, 'message');
    assert.deepEqual(calls.in, ['a1', 'b1']);
    calls.go('a1');
    assert.deepEqual(await calls.settled(), ['a1', 'b1', 'c1']);
  });

  test('while anything is awaited of the caller, nothing is held; two things awaited give one place back', async () => {
    const calls = new Calls({ whole: [1] });
    calls.come('a1');
    await calls.settled();
    const [next, sent] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const place = calls.places.get('a1');
    const both = [place?.whileAway(next.promise), place?.whileAway(sent.promise)];
    sent.resolve();
    await both[1];
    calls.come('b1');
    assert.deepEqual(await calls.settled(), ['a1', 'b1']);
    next.resolve();
    calls.go('b1');
    await both[0];
    calls.come('c1');
    assert.deepEqual(await calls.settled(), ['a1', 'b1']);
    calls.go('a1');
    assert.deepEqual(await calls.settled(), ['a1', 'b1', 'c1']);
  });

  test('beyond those who may be away, the connection that has most loses the one that waited longest', async () => {
    const calls = new Calls();
    for (const name of ['a1', 'a2', 'b1', 'c1']) {
      calls.come(name);
      await calls.settled();
      calls.fallSilent(name);
    }
    assert.deepEqual(calls.refused, ['a1: too many calls wait for their callers']);
  });

  test('calls of one message go first where that is asked for', async () => {
    const calls = new Calls({ whole: [1], unaryFirst: true });
    for (const name of ['a1', 'b1', 'b2', 'c1']) calls.come(name, { stream: name === 'b1' });
    await calls.settled();
    for (const name of ['a1', 'b2', 'c1']) {
      calls.go(name);
      await calls.settled();
    }
    assert.deepEqual(calls.in, ['a1', 'b2', 'c1', 'b1']);
  });

  test('a call that ends while it waits keeps nothing, nor one that ends away', async () => {
    const calls = new Calls({ whole: [1] });
    const abort = new AbortController();
    calls.come('a1');
    calls.come('b1', { signal: abort.signal });
    await calls.settled();
    abort.abort(new RefusalError('shutdown', 'the end'));
    await calls.settled();
    assert.deepEqual(calls.refused, ['b1: the end']);
    const never = calls.places.get('a1')?.whileAway(new Promise(() => {}));
    assert.notEqual(never, undefined);
    calls.go('a1');
    calls.come('c1');
    assert.deepEqual(await calls.settled(), ['a1', 'c1']);
    calls.go('c1');
    calls.come('d1');
    assert.deepEqual(await calls.settled(), ['a1', 'c1', 'd1']);
  });
});
