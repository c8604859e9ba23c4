import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RefusalError } from '../../src/errors.ts';
import { type Place, Places, type Room } from '../../src/worker/places.ts';

const ROOM: Room = { places: 4, share: 2, waiting: 4, away: 3, unaryFirst: false };

/** Calls by name; each notes that it was let in. */
class Calls {
  readonly in: string[] = [];
  readonly refused: string[] = [];
  readonly places = new Map<string, Place>();
  readonly #house: Places;

  constructor(room: Partial<Room> = {}) {
    this.#house = new Places({ ...ROOM, ...room });
  }

  /** The first letter of a name is its connection. */
  come(name: string, options: { stream?: boolean; signal?: AbortSignal } = {}): void {
    const refuse = (error: RefusalError): void => void this.refused.push(`${name}: ${error.message}`);
    const { stream = false, signal = new AbortController().signal } = options;
    this.#house.take({ connection: name[0], stream, signal, end: refuse }).then((place) => {
      this.in.push(name);
      this.places.set(name, place);
    }, refuse);
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
  test('a connection has its share and no more, and whoever waits comes in turn by connection', async () => {
    const calls = new Calls();
    for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1', 'd1']) calls.come(name);
    assert.deepEqual(await calls.settled(), ['a1', 'a2', 'b1', 'b2']);
    for (const name of ['a1', 'a2']) calls.go(name);
    assert.deepEqual(await calls.settled(), ['a1', 'a2', 'b1', 'b2', 'a3', 'c1']);
    calls.go('b1');
    assert.equal((await calls.settled()).at(-1), 'd1');
    calls.go('b2');
    assert.equal((await calls.settled()).at(-1), 'a4');
    assert.deepEqual(calls.refused, []);
  });

  test('beyond the queue, the connection that has most waiting loses its newest', async () => {
    const calls = new Calls();
    for (const name of ['a1', 'a2', 'b1', 'b2', 'a3', 'a4', 'a5', 'a6', 'a7', 'c1']) calls.come(name);
    await calls.settled();
    assert.deepEqual(calls.refused, ['a7: too many calls wait for a worker', 'a6: too many calls wait for a worker']);
    for (const name of ['b1', 'b2']) calls.go(name);
    assert.deepEqual(await calls.settled(), ['a1', 'a2', 'b1', 'b2', 'c1']);
  });

  test('a call that is away holds no place, is counted, and comes back in its turn', async () => {
    const calls = new Calls({ places: 1, share: 1 });
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
    const calls = new Calls({ places: 1, share: 1 });
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
      calls.places
        .get(name)
        ?.whileAway(new Promise(() => {}))
        .catch(() => {});
    }
    assert.deepEqual(calls.refused, ['a1: too many calls wait for their callers']);
  });

  test('calls of one message go first where that is asked for', async () => {
    const calls = new Calls({ places: 1, share: 1, unaryFirst: true });
    for (const name of ['a1', 'b1', 'b2', 'c1']) calls.come(name, { stream: name === 'b1' });
    await calls.settled();
    for (const name of ['a1', 'b2', 'c1']) {
      calls.go(name);
      await calls.settled();
    }
    assert.deepEqual(calls.in, ['a1', 'b2', 'c1', 'b1']);
  });

  test('a call that ends while it waits keeps nothing, nor one that ends away', async () => {
    const calls = new Calls({ places: 1, share: 1 });
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
