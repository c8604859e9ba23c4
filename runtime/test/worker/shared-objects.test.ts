/** What two calls of a worker both reach: all of it is frozen, or it would carry from one to the other. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answersOf, bundle, realmOfMeetings } from '../../../test/hostile/realm-lab.ts';

/** Things to begin a walk from: of every kind that syntax makes, the library makes, or the engine hands to a callback. */
const SEEDS = `
const tried = (action) => { try { return action() } catch (error) { return error } };
const tag = (parts) => parts;
async function seedsOf(request, ctx) {
  const thenable = (handed) => ({ then(resolve, reject) { handed.push(resolve, reject); resolve(1) } });
  return [
    globalThis, Object.getOwnPropertyDescriptors(globalThis), ctx, request, module, exports, tag\`a\${1}b\`,
    arguments, (function () { return arguments })(1),
    function f() {}, () => {}, class { static #x; get y() { return 1 } }, async () => {}, function* () {}, async function* () {},
    (function* () {})(), (async function* () {})(),
    /a/g, /(?<n>a)/d.exec('a'), 'a'.matchAll(/a/g), new Map(), new Set(), new WeakMap(), new WeakSet(),
    new Map().keys(), new Set().entries(), [].values(), 'a'[Symbol.iterator](),
    new Proxy({}, {}), Proxy.revocable({}, {}), Promise.resolve(1), Promise.withResolvers(),
    tried(() => Promise.try(() => 1)), tried(() => Array.fromAsync([1])),
    new ArrayBuffer(8), new DataView(new ArrayBuffer(8)), new Float64Array(2), new BigInt64Array(2), new Float16Array(1),
    new Uint8Array(1).subarray(0), new Uint8Array(1).buffer, Uint8Array.from([1]), new Uint8Array(1).toSorted(),
    Uint8Array.fromHex('00'), new ArrayBuffer(8).slice(1), new ArrayBuffer(8).transfer(), new TextEncoder().encode('a'),
    new Date(0), Object(1), Object(1n), Object('s'), Object(Symbol('x')), Object(true),
    tried(() => new DisposableStack()), tried(() => new AsyncDisposableStack()), tried(() => new SuppressedError(1, 2, 'm')),
    new AggregateError([1], 'm', { cause: 1 }), tried(() => null.x), tried(() => undefinedName),
    tried(() => decodeURIComponent('%')), tried(() => JSON.parse('{')), tried(() => { const f = () => f() + 1; return f() }),
    tried(() => new Array(-1)), tried(() => new RegExp('[')), tried(() => 1n + 1), tried(() => eval('1')),
    tried(() => { 'use strict'; Object.freeze([]).push(1) }), tried(() => new (class extends Object { constructor() {} })()),
    tried(() => { const object = {}; Error.captureStackTrace(object); return object }),
    StatusError, new StatusError('NOT_FOUND', 'x'), new (class extends StatusError {})('NOT_FOUND'),
    tried(() => JSON.rawJSON('1')), [].values().map((x) => x), [1].values().map((x) => x).next(), [].values().flatMap((x) => [x]),
    Iterator.from({ next: () => ({ done: true }) }), tried(() => Iterator.concat([1], [2])),
    tried(() => Iterator.zip([[1], [2]])), tried(() => Iterator.zipKeyed({ a: [1] })),
    ...Reflect.ownKeys(Intl).filter((key) => typeof Intl[key] === 'function')
      .map((key) => tried(() => new Intl[key]('en', key === 'DisplayNames' ? { type: 'region' } : {}))),
    new Intl.DateTimeFormat('en').format, new Intl.NumberFormat('en').format, new Intl.Collator('en').compare,
    new Intl.DateTimeFormat('en').formatToParts(0), new Intl.DateTimeFormat('en').resolvedOptions(),
    new Intl.NumberFormat('en').formatToParts(1), tried(() => new Intl.Locale('en').getTextInfo()),
    tried(() => new Intl.Locale('en').getWeekInfo()), Intl.supportedValuesOf('currency'), Intl.getCanonicalLocales('en'),
    new Intl.Segmenter('en').segment('a b'), new Intl.Segmenter('en').segment('a b')[Symbol.iterator](),
    new Intl.Segmenter('en').segment('a b').containing(0),
    tried(() => Temporal.Instant.from('2020-01-01T00:00Z')), tried(() => Temporal.PlainDate.from('2020-01-01')),
    tried(() => Temporal.Duration.from('P1D')), tried(() => Temporal.ZonedDateTime.from('2020-01-01T00:00[UTC]')),
    tried(() => new Date(0).toTemporalInstant()), Object.groupBy([1], (x) => x), Map.groupBy([1], (x) => x),
    ctx.store.cases.get('k').catch((error) => error), await ctx.store.cases.get('k').catch((error) => error),
    await (async () => {
      const handed = [];
      const then = thenable(handed);
      await then;
      await Promise.resolve(then);
      class Own extends Promise {
        then(a, b) { handed.push(a, b); return super.then(a, b) }
        constructor(executor) { super((a, b) => { handed.push(a, b); executor(a, b) }); handed.push(executor) }
      }
      await Own.all([Own.resolve(1), 2]); await Own.allSettled([1]); await Own.any([1]); await Own.race([1]);
      await Own.resolve(1).finally(() => {}); await Own.reject(1).finally(() => {}).catch(() => {}); await Own.try(() => 1);
      async function* generator() {
        yield then;
        yield* { [Symbol.asyncIterator]: () => ({
          next(...given) { handed.push(...given); return { then(a, b) { handed.push(a, b); a({ done: true }) } } },
        }) };
      }
      for await (const _ of generator());
      for await (const _ of [Own.resolve(1), then]);
      await Array.fromAsync([Own.resolve(1), then]);
      return handed;
    })(),
    (() => {
      const handed = [];
      const handler = new Proxy({}, { get: (_, trap) => (...given) => { handed.push(...given); return Reflect[trap](...given) } });
      const proxy = new Proxy(function () {}, handler);
      for (const action of [() => Object.keys(proxy), () => proxy.x, () => { proxy.x = 1 }, () => proxy(), () => new proxy(),
        () => Object.defineProperty(proxy, 'y', { value: 1, configurable: true }), () => ({}) instanceof proxy,
        () => Object.getOwnPropertyDescriptor(proxy, 'x'), () => JSON.stringify(proxy)]) tried(action);
      return handed;
    })(),
    (() => {
      const handed = [];
      JSON.parse('{"a":[1,{"b":2}]}', function (_, value, source) { handed.push(this, source); return value });
      JSON.stringify({ a: 1 }, function (_, value) { handed.push(this); return value });
      'abc'.replace(/(?<q>b)/, (...given) => { handed.push(...given); return '' });
      [3, 1].sort(function () { handed.push(this); return 0 });
      return handed;
    })(),
  ];
}`;

/** The first call leaves what it reaches at the meeting; the second says what of it, that it reaches too, can still hold something. */
const WALK = `
const { meeting } = globalThis;
const reached = new Map();
const queue = (await seedsOf(request, ctx)).map((seed, at) => [seed, 'seed ' + at]);
while (queue.length > 0) {
  const [object, path] = queue.pop();
  const kind = typeof object;
  if ((kind !== 'object' && kind !== 'function') || object === null || object === meeting || reached.has(object)) continue;
  reached.set(object, path);
  tried(() => queue.push([Object.getPrototypeOf(object), path + '.__proto__']));
  for (const key of Reflect.ownKeys(object)) {
    const found = tried(() => Object.getOwnPropertyDescriptor(object, key)) ?? {};
    const at = path + '.' + String(key).slice(0, 40);
    queue.push([found.value, at], [found.get, at + ' get'], [found.set, at + ' set']);
  }
}
if (request.first) { for (const [object] of reached) meeting.set(object, true); return { reached: reached.size } }
const getter = (owner, name) => Object.getOwnPropertyDescriptor(owner, name).get;
// What holds something whatever is frozen: each of these throws for anything else.
const holders = [
  (it) => getter(Map.prototype, 'size').call(it), (it) => getter(Set.prototype, 'size').call(it),
  (it) => WeakMap.prototype.has.call(it, {}), (it) => WeakSet.prototype.has.call(it, {}),
  (it) => Date.prototype.getTime.call(it), (it) => getter(ArrayBuffer.prototype, 'byteLength').call(it),
  (it) => getter(DataView.prototype, 'byteLength').call(it),
  (it) => { if (!ArrayBuffer.isView(it)) throw it },
];
const holds = (object) => holders.some((holder) => { try { holder(object); return true } catch { return false } });
const [shared, open] = [[], []];
for (const [object, path] of reached) {
  if (!meeting.has(object)) continue;
  shared.push(path);
  if (!Object.isFrozen(object) || holds(object)) open.push(path);
}
return { reached: reached.size, shared: shared.length, open };`;

interface Walked {
  readonly reached: number;
  readonly shared: number;
  readonly open: readonly string[];
}

async function walked(frozen: boolean): Promise<[first: Walked, second: Walked]> {
  const realm = realmOfMeetings(bundle(WALK, SEEDS), frozen);
  return (await answersOf(realm, [{ first: true }, {}])) as [Walked, Walked];
}

test('whatever two calls both reach is frozen and holds nothing', async () => {
  const [first, second] = await walked(true);
  assert.deepEqual(second.open, []);
  assert.ok(first.reached > 1000, `${first.reached} objects reached`);
  assert.ok(second.shared > 500, `${second.shared} objects shared`);
});

test('what is left as it is would be found', async () => {
  const [, { open }] = await walked(false);
  assert.ok(open.some((path) => path.endsWith('.stack get')) && open.some((path) => path.endsWith('.stack set')));
});
