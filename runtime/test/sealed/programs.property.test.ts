/**
 * Random programs of calls, epochs, restarts, crashes and moves of the clock leave what a simple
 * list of places would have, as far as it was acknowledged.
 */

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { FakeKeeper } from '../../../test/fakes/keeper.ts';
import { count } from '../../../test/support/long.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Change, KeyRange } from '../../src/storage/collection.ts';
import { after, at, type Mutation, type Place } from '../../src/storage/place.ts';
import { type Draw, FakeDisk, seededDraw } from '../log/support.ts';
import { MIB, put, Rig, TestClock, taggedForm } from './support.ts';

const RETENTION = 1000;
const KEYS = ['a', 'ab', 'b', 'b\ud800', 'b\uffff', 'b\u{10000}', 'b\0', 'é', 'z'];
const TAGS = ['red', 'blue', 'rot'];
const LABELS: readonly string[][] = [[], ['health'], ['name'], ['health', 'name']];

/** The places as a list, whose values are texts. */
type Model = Map<string, Place<string>>;

function mutationOf(change: Change, now: number): Mutation<string> {
  if (change.kind === 'delete' || change.kind === 'mark-delete') return change;
  const since = Math.min(change.since, now);
  const kept = { since, end: since + RETENTION, label: change.label, owner: change.owner };
  if (change.kind === 'mark-put') return { kind: 'mark-put', ...kept };
  return { kind: 'put', value: change.value, version: change.version, ...kept };
}

function applied(model: Model, changes: readonly Change[], now: number): Model {
  const next = new Map(model);
  for (const change of changes) {
    const place = after(next.get(change.key), mutationOf(change, now), now);
    if (place === undefined) next.delete(change.key);
    else next.set(change.key, place);
  }
  return next;
}

/** What readers are told of a model. */
function told(model: Model, now: number): unknown {
  return KEYS.map((key) => {
    const place = at(model.get(key), now);
    if (place === undefined) return [key, null];
    const { value, label, since } = place;
    return [key, value ?? null, label, since, value === undefined ? null : place.version];
  });
}

async function toldBy({ cases }: Rig): Promise<unknown> {
  return await Promise.all(
    KEYS.map(async (key) => {
      const found = cases.get(key);
      return found === undefined
        ? [key, null]
        : [key, (await found.value) ?? null, found.label, found.since, found.version ?? null];
    }),
  );
}

function tagOf(value: string): string {
  return (JSON.parse(value) as { tag: string }).tag;
}

function listed(model: Model, now: number, { prefix, after: last, limit, where }: KeyRange): unknown {
  const keys: string[] = [];
  const label = new Set<string>();
  for (const key of [...model.keys()].sort().filter((key) => key.startsWith(prefix) && key > last)) {
    const place = at(model.get(key), now);
    if (place === undefined) continue;
    const isNamed = place.value !== undefined && (where === undefined || tagOf(place.value) === where.value);
    if (isNamed) keys.push(key);
    for (const category of place.label) label.add(category);
    if (keys.length >= limit) break;
  }
  return { keys, label: [...label].sort() };
}

const pick = <T>(draw: Draw, from: readonly T[]): T => from[draw(from.length)] as T;

function changeOf(draw: Draw, model: Model, now: number): Change {
  const [key, label] = [pick(draw, KEYS), pick(draw, LABELS)];
  const place = at(model.get(key), now);
  const version = place?.value === undefined ? null : (place.version ?? null);
  const condition = draw(4) > 0 ? {} : { ifVersion: draw(5) > 0 ? version : draw(2) > 0 ? null : 'ff'.repeat(8) };
  const since = draw(3) > 0 ? Number.POSITIVE_INFINITY : now - draw(1500);
  const kind = draw(10);
  const tag = pick(draw, TAGS);
  const more = { label, since, owner: pick(draw, ['a', 'b']), indexed: [tag], ...condition };
  if (kind < 6) return put(key, { tag, text: 'x'.repeat(draw(300)) }, more);
  if (kind < 8) return { kind: 'delete', key, label, ...condition };
  if (kind < 9) return { kind: 'mark-put', key, label, since, owner: 'a' };
  return { kind: 'mark-delete', key, label };
}

/** Whether the conditions of changes hold. */
function holds(model: Model, changes: readonly Change[], now: number): boolean {
  return changes.every((change) => {
    if (!('ifVersion' in change) || change.ifVersion === undefined) return true;
    const place = at(model.get(change.key), now);
    return (place?.value === undefined ? null : place.version) === change.ifVersion;
  });
}

/** One program. */
async function run(draw: Draw): Promise<void> {
  const clock = new TestClock();
  const keeper = new FakeKeeper();
  const forms = [taggedForm('one'), taggedForm('other')];
  const first = { disk: new FakeDisk(MIB), clock, keeper };
  let rig = await Rig.boot({ ...first, collections: { cases: RETENTION }, form: pick(draw, forms) });
  let model: Model = new Map();
  let advancing: Promise<number> | undefined;
  for (let step = 0; step < 12; step++) {
    const kind = draw(20);
    if (kind < 12) {
      const once = Array.from({ length: 1 + draw(3) }, () => changeOf(draw, model, clock.now()));
      const changes = once.filter(({ key }, i) => once.findIndex((each) => each.key === key) === i);
      const ok = holds(model, changes, clock.now());
      try {
        const durable = rig.call(changes);
        assert(ok, 'a condition that does not hold');
        model = applied(model, changes, clock.now());
        if (draw(3) > 0) await durable;
      } catch (error) {
        assert(error instanceof RefusalError && error.code === 'conflict' && !ok, `${error}`);
      }
    } else if (kind < 14) clock.pass(draw(700));
    else if (kind < 16) {
      advancing = rig.store.advance();
      if (draw(2) > 0) await advancing;
    } else if (kind < 18) {
      // All that was placed is durable once a later record is.
      await rig.call([]);
      await advancing;
      const { store } = rig;
      // Of another shape, the index is made anew.
      rig = await rig.again({ collections: { cases: RETENTION }, form: pick(draw, forms) });
      // The boot was cut off: only its memory is given back.
      await store.close();
    } else {
      const [prefix, last, limit] = [pick(draw, ['', 'a', 'b']), pick(draw, ['', 'a', 'b\ud800']), 1 + draw(4)];
      const where = draw(2) > 0 ? { index: 0, value: pick(draw, TAGS) } : undefined;
      const range = { prefix, after: last, limit, where };
      assert.deepEqual(rig.cases.list(range), listed(model, clock.now(), range));
    }
    assert.deepEqual(await toldBy(rig), told(model, clock.now()));
  }
  await rig.store.close();
}

test('programs have the result of a simple list of places', async () => {
  const draw = seededDraw('programs');
  for (let i = 0; i < count(150, 20_000, 20); i++) {
    const seeded = seededDraw(`program ${draw(2 ** 30)}`);
    // Of a boot that was cut off the timers would stay, and with them all that it had.
    mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
    try {
      await run(seeded);
    } catch (cause) {
      throw new Error(`program ${i}`, { cause });
    } finally {
      mock.timers.reset();
    }
  }
});
