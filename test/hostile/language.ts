/** Attacks on the realm: ways out of it, and ways from one call into another. */

import { openLab } from '../support/lab.ts';
import { startWorkers } from '../support/worker-process.ts';
import type { Attack } from './attack.ts';
import { answers, bundle, type RealmLayer } from './realm-lab.ts';

/** Attacks of one call, whose handler answers true where it got what it wanted. */
const ESCAPES: Readonly<Partial<Record<RealmLayer, Readonly<Record<string, string>>>>> = {
  'realm of its own': {
    'process as a global': 'return typeof process.pid === "number"',
    'process by globalThis': 'return typeof globalThis.process === "object"',
    'process by the Function constructor': 'return typeof Function("return process")() === "object"',
    'process by an indirect eval': 'return typeof (0, eval)("process") === "object"',
    "process by the context's constructor":
      'return typeof ctx.constructor.constructor("return process")() === "object"',
    "process by the request's constructor":
      'return typeof request.constructor.constructor("return process")() === "object"',
    'process by the constructor of async functions':
      'return typeof await (async () => {}).constructor("return process")() === "object"',
    'process by the constructor of generators':
      'return typeof (function* () {}).constructor("return process")().next().value === "object"',
    "process by a granted function's constructor": 'return typeof ctx.now.constructor("return process")() === "object"',
    "process by a refusal's constructor":
      'try { await ctx.store.cases.get("k") } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    "process by a promise's constructor":
      'const p = ctx.store.cases.get("k"); p.catch(() => {}); return typeof p.constructor.constructor("return process")() === "object"',
    'process by a stack overflow in a granted function':
      'const f = () => { try { return f() } catch (e) { ctx.store.cases.put("k", 1).catch(() => {}); return e } }; return typeof f().constructor.constructor("return process")() === "object"',
    'process by a Proxy that is thrown':
      'try { throw new Proxy({}, {}) } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    'a built-in module': 'return typeof process.getBuiltinModule("node:fs").readFileSync === "function"',
    'node:ffi': 'return typeof process.getBuiltinModule("node:ffi").dlopen === "function"',
    'the inspector': 'return typeof process.getBuiltinModule("node:inspector").Session === "function"',
    'process.binding': 'return typeof process.binding === "function"',
    'the environment': 'return typeof process.env === "object"',
    'the program and its arguments': 'return typeof process.argv[0] === "string"',
    'a report of the process': 'return typeof process.report.getReport === "function"',
    'the network by fetch': 'return typeof fetch === "function"',
    'the network by WebSocket': 'return typeof WebSocket === "function"',
    'memory by Buffer': 'return typeof Buffer.allocUnsafe === "function"',
    'a timer that outlives the call': 'return typeof setTimeout === "function"',
    'a turn of the loop by setImmediate': 'return typeof setImmediate === "function"',
    'a fine clock by performance': 'return typeof performance.now() === "number"',
    'a channel to another thread':
      'return typeof MessageChannel === "function" && typeof BroadcastChannel === "function"',
    'structured clones of foreign objects': 'return typeof structuredClone === "function"',
    "Node's own symbols for inspection":
      'return typeof process.getBuiltinModule("node:util").inspect.custom === "symbol"',
    'asynchronous hooks': 'return typeof process.getBuiltinModule("node:async_hooks").createHook === "function"',
  },
  'no import expressions': {
    'process by the error of import()':
      'try { await import("node:fs") } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    'import() with a comment between':
      'try { await import/* */("node:fs") } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    'import() over several lines':
      'try { await import\n\u2028\n("node:fs") } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    "import() behind an HTML comment's beginning":
      'try { await import<!-- x\n("node:fs") } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    "import() behind an HTML comment's end":
      'try { await import\n--> x\n("node:fs") } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
    'import() in an argument':
      'try { String(await import("node:fs")) } catch (e) { return typeof e.constructor.constructor("return process")() === "object" }',
  },
  'no code from strings': {
    'code by eval': 'return eval("1 + 1") === 2',
    'code by Function': 'return Function("return 2")() === 2',
    'code by an async constructor': 'return await (async () => {}).constructor("return 2")() === 2',
    'code by a generator constructor': 'return (function* () {}).constructor("yield 2")().next().value === 2',
    'code by Reflect.construct': 'return Reflect.construct(Function, ["return 2"])() === 2',
  },
  'no stacks': {
    'files and code of the runtime in a stack': 'return /node:|file:|realm-lab/.test(new Error().stack)',
    'the stack of a rejection':
      'return typeof await Promise.reject(new TypeError()).catch((e) => e.stack) === "string"',
  },
  'only what computes': {
    'a clock by shared memory': 'return new SharedArrayBuffer(8).byteLength === 8',
    'waiting by Atomics': 'return typeof Atomics.wait === "function"',
    'machine code by WebAssembly': 'return WebAssembly.validate(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))',
    "the collector's work by WeakRef": 'return new WeakRef({}).deref() !== undefined',
    'code that runs when the collector does':
      'return typeof new FinalizationRegistry(() => {}).register === "function"',
    "the inspector's console": 'return typeof console.log === "function"',
  },
  'time that stands still': {
    'a clock by Date.now': 'const at = Date.now(); for (let i = 0; i < 5e7; i++); return Date.now() !== at',
    'a clock by new Date': 'const at = +new Date(); for (let i = 0; i < 5e7; i++); return +new Date() !== at',
    'a clock by Date as a function': 'return Date() !== new Date(ctx.now()).toString()',
  },
  'no clock in the intrinsics': {
    'a clock by the global behind the global': 'return Object.getPrototypeOf(globalThis).Date.now() > 0',
    'a clock by the constructor of a date': 'return new Date(0).constructor.now() > 0',
    'a clock by Temporal': 'return Temporal.Now.instant().epochMilliseconds > 0',
    'a clock by a format of nothing': 'return new Intl.DateTimeFormat("en", { year: "numeric" }).format() !== "1970"',
    'a clock by the parts of a format':
      'return new Intl.DateTimeFormat("en", { year: "numeric" }).formatToParts()[0].value !== "1970"',
  },
  // Buffers that nobody writes take addresses, of which a process has 128 TiB: what one call takes of them, another would miss.
  'bounded buffers': {
    'addresses by a buffer that may grow':
      'return new ArrayBuffer(0, { maxByteLength: 2 ** 40 }).maxByteLength === 2 ** 40',
    'addresses by a large buffer': 'return new ArrayBuffer(2 ** 27).byteLength === 2 ** 27',
    'addresses by a length that says another number the second time':
      'let asked = 0; return new ArrayBuffer({ valueOf: () => (asked++ === 0 ? 2 ** 27 : 1) }).byteLength === 2 ** 27',
    'addresses by views of a large buffer each':
      'return [Int8Array, Uint8ClampedArray, Int16Array, Uint32Array, Float16Array, Float64Array, BigInt64Array, BigUint64Array].some((View) => { try { return new View(2 ** 27 / View.BYTES_PER_ELEMENT).byteLength === 2 ** 27 } catch { return false } })',
    'addresses by a class of views': 'return new (class extends Uint8Array {})(2 ** 27).length === 2 ** 27',
    'addresses by the constructor of a buffer that is there':
      'return new (new Uint8Array(1).buffer.constructor)(2 ** 27).byteLength === 2 ** 27',
    'addresses by the kind of a view':
      'return new (new Uint8Array(1).constructor[Symbol.species])(2 ** 27).length === 2 ** 27',
    'addresses by a buffer that is handed over': 'return new ArrayBuffer(1).transfer(2 ** 27).byteLength === 2 ** 27',
    'addresses by a buffer that is handed over for good':
      'return new ArrayBuffer(1).transferToFixedLength(2 ** 27).byteLength === 2 ** 27',
  },
  'granted chance': {
    'chance that nobody granted': 'return Object.getPrototypeOf(globalThis).Math.random() < 1',
  },
};

/** Attacks of two calls: `plant` in the first, `harvest` in the second answers true where it finds what was planted. */
interface Crossing {
  readonly top?: string;
  readonly plant: string;
  readonly harvest: string;
}

const CROSSINGS: Readonly<Partial<Record<RealmLayer, Readonly<Record<string, Crossing>>>>> = {
  'instance per call': {
    'a variable of a module': { top: 'let kept;', plant: 'kept = 1', harvest: 'return kept === 1' },
    'a cache in a Map': {
      top: 'const cache = new Map();',
      plant: 'cache.set("k", 1)',
      harvest: 'return cache.has("k")',
    },
    'an array that grows': { top: 'const seen = [];', plant: 'seen.push(1)', harvest: 'return seen.length > 0' },
    'a property of a function': {
      top: 'function memo() {}',
      plant: 'memo.kept = 1',
      harvest: 'return memo.kept === 1',
    },
    'a static field of a class': {
      top: 'class K { static kept }',
      plant: 'K.kept = 1',
      harvest: 'return K.kept === 1',
    },
    'a promise that is settled later': {
      top: 'const later = Promise.withResolvers();',
      plant: 'later.resolve(1)',
      harvest: 'return await Promise.race([later.promise, 0]) === 1',
    },
    'a generator that waits': {
      top: 'const g = (function* () { const all = []; for (;;) all.push(yield all) })(); g.next();',
      plant: 'g.next(1)',
      harvest: 'return g.next(2).value.includes(1)',
    },
    'the global of the bundle': { plant: 'globalThis.kept = 1', harvest: 'return globalThis.kept === 1' },
    'the exports': { plant: 'exports.kept = 1', harvest: 'return exports.kept === 1' },
    'the table of handlers': { plant: 'exports.handlers.kept = 1', harvest: 'return exports.handlers.kept === 1' },
    'the position of a pattern': {
      top: 'const pattern = /a/g;',
      plant: 'pattern.test("aa")',
      harvest: 'return pattern.lastIndex === 1',
    },
    'the context of an earlier call': {
      top: 'let kept;',
      plant: 'kept = ctx',
      harvest: 'return kept !== undefined && kept !== ctx',
    },
    'a request that is kept': {
      top: 'const kept = [];',
      plant: 'kept.push(request)',
      harvest: 'return kept.length > 0',
    },
    'a property of the own Date': { plant: 'Date.kept = 1', harvest: 'return Date.kept === 1' },
    'a property of the own Math': { plant: 'Math.kept = 1', harvest: 'return Math.kept === 1' },
    'a property of the own crypto': { plant: 'crypto.kept = 1', harvest: 'return crypto.kept === 1' },
    'a template as a key': {
      top: 'const keys = new WeakMap(); const tag = (t) => t; const here = () => tag`x`;',
      plant: 'keys.set(here(), 1)',
      harvest: 'return keys.get(here()) === 1',
    },
  },
  'frozen intrinsics': {
    'a property of every object': { plant: 'Object.prototype.kept = 1', harvest: 'return ({}).kept === 1' },
    'push of every array': {
      plant: 'Array.prototype.push = function () { return 99 }',
      harvest: 'return [].push(1) === 99',
    },
    'then of every promise': {
      plant:
        'const then = Promise.prototype.then; Promise.prototype.then = function (...a) { Promise.kept = 1; return then.apply(this, a) }',
      harvest: 'await Promise.resolve().then(() => {}); return Promise.kept === 1',
    },
    'JSON.parse': { plant: 'JSON.kept = 1', harvest: 'return JSON.kept === 1' },
    'call of every function': { plant: 'Function.prototype.kept = 1', harvest: 'return (() => {}).kept === 1' },
    'the iterator of arrays': {
      plant: 'Object.getPrototypeOf([][Symbol.iterator]()).kept = 1',
      harvest: 'return [].values().kept === 1',
    },
    'the prototype of generators': {
      plant: 'Object.getPrototypeOf(function* () {}).prototype.kept = 1',
      harvest: 'return (function* () {})().kept === 1',
    },
    'the prototype of async generators': {
      plant: 'Object.getPrototypeOf(async function* () {}).prototype.kept = 1',
      harvest: 'return (async function* () {})().kept === 1',
    },
    'the prototype of async functions': {
      plant: 'Object.getPrototypeOf(async () => {}).kept = 1',
      harvest: 'return (async () => {}).kept === 1',
    },
    'the prototype of typed arrays': {
      plant: 'Object.getPrototypeOf(Int8Array.prototype).kept = 1',
      harvest: 'return new Uint8Array().kept === 1',
    },
    'Map.prototype.get': { plant: 'Map.prototype.kept = 1', harvest: 'return new Map().kept === 1' },
    'the matches of a string': {
      plant: 'Object.getPrototypeOf("".matchAll(/a/g)).kept = 1',
      harvest: 'return "".matchAll(/a/g).kept === 1',
    },
    'helpers of iterators': {
      plant: 'Object.getPrototypeOf([].values().map((x) => x)).kept = 1',
      harvest: 'return [].values().map((x) => x).kept === 1',
    },
    'segments of texts': {
      plant: 'Object.getPrototypeOf(new Intl.Segmenter().segment("")).kept = 1',
      harvest: 'return new Intl.Segmenter().segment("").kept === 1',
    },
    'a class of errors': { plant: 'RangeError.prototype.kept = 1', harvest: 'return new RangeError().kept === 1' },
    'a namespace of Intl': { plant: 'Intl.kept = 1', harvest: 'return Intl.kept === 1' },
    Reflect: { plant: 'Reflect.kept = 1', harvest: 'return Reflect.kept === 1' },
    'a getter that undoes an assignment': {
      plant: 'Object.getOwnPropertyDescriptor(Date.prototype, "toJSON").value.kept = 1',
      harvest: 'return Date.prototype.toJSON.kept === 1',
    },
    'the global behind the global': {
      plant: 'Object.getPrototypeOf(globalThis).kept = 1',
      harvest: 'return Object.getPrototypeOf(globalThis).kept === 1',
    },
    'TextEncoder, which all calls share': {
      plant: 'TextEncoder.kept = 1; TextEncoder.prototype.kept = 1',
      harvest: 'return TextEncoder.kept === 1 || new TextEncoder().kept === 1',
    },
    'atob, which all calls share': { plant: 'atob.kept = 1', harvest: 'return atob.kept === 1' },
  },
  'frozen accessors of stacks': {
    'what reads the stack of every error': {
      plant: 'Object.getOwnPropertyDescriptor(new Error(), "stack").get.kept = 1',
      harvest: 'return Object.getOwnPropertyDescriptor(new Error(), "stack").get.kept === 1',
    },
    'what writes the stack of every error': {
      plant: 'Object.getOwnPropertyDescriptor(new Error(), "stack").set.kept = 1',
      harvest: 'return Object.getOwnPropertyDescriptor(new Error(), "stack").set.kept === 1',
    },
  },
  'frozen bundle': {
    'the function of the bundle': {
      top: 'const self2 = arguments.callee;',
      plant: 'self2.kept = 1',
      harvest: 'return self2.kept === 1',
    },
  },
  'strict frames': {
    'the function that calls the bundle': {
      top: 'const cell = arguments.callee.caller;',
      plant: 'cell.kept = 1',
      harvest: 'return cell.kept === 1',
    },
  },
  'no legacy matches': {
    'the last match of any call': { plant: '/k(ept)/.exec("kept")', harvest: 'return RegExp.$1 === "ept"' },
    'the last subject of any call': { plant: '/x/.exec("xsecret")', harvest: 'return RegExp["$\'"] === "secret"' },
  },
  'bundle as a function body': {
    'a declaration outside the bundle': {
      top: '}); const shared = []; (function (module, exports) {',
      plant: 'shared.push(1)',
      harvest: 'return shared.length > 0',
    },
  },
};

/** Objects that all calls share, to stamp with a private field: the engine keeps those beside the properties. */
const STAMPED: Readonly<Record<string, string>> = {
  'a private field of every object': 'Object.prototype',
  'a private field of the global behind the global': 'Object.getPrototypeOf(globalThis)',
  'a private field of a function that all calls share': 'JSON.parse',
  'a private field of a template': '((parts) => parts)`x`',
};

/** Whether a call can keep a value on `shared`, in a worker's process as it is started. */
async function stamps(shared: string, engine?: readonly string[]): Promise<boolean> {
  const lab = await openLab({
    factory: startWorkers(160, engine),
    handlers: {
      Sum: `class Give { constructor(object) { return object } }
        class Stamp extends Give { #value; constructor(object, value) { super(object); this.#value = value } static of(object) { return object.#value } }
        const shared = ${shared}; new Stamp(shared, 7); return { count: Stamp.of(shared) }`,
    },
  });
  try {
    const { messages } = await lab.call('Sum', {});
    return (messages[0] as { count?: string } | undefined)?.count === '7';
  } finally {
    lab.close();
  }
}

function entries<T>(
  table: Readonly<Partial<Record<RealmLayer, Readonly<Record<string, T>>>>>,
): [RealmLayer, string, T][] {
  return Object.entries(table).flatMap(([layer, named]) =>
    Object.entries(named ?? {}).map(([name, what]): [RealmLayer, string, T] => [layer as RealmLayer, name, what]),
  );
}

/** Every attack on the language's layer. */
export const languageAttacks: readonly Attack[] = [
  ...entries(ESCAPES).map(([layer, name, body]): Attack => {
    const run = async (off?: RealmLayer): Promise<boolean> => (await answers(bundle(body), [{}], off))[0] === true;
    return { group: 'sandbox escape', name, layer, attempt: () => run(), control: () => run(layer) };
  }),
  ...entries(CROSSINGS).map(([layer, name, { top = '', plant, harvest }]): Attack => {
    const code = bundle(`if (request.first) { ${plant}; return false } ${harvest}`, top);
    const run = async (off?: RealmLayer): Promise<boolean> =>
      (await answers(code, [{ first: true }, {}], off))[1] === true;
    return { group: 'from call to call', name, layer, attempt: () => run(), control: () => run(layer) };
  }),
  ...Object.entries(STAMPED).map(
    ([name, shared]): Attack => ({
      group: 'from call to call',
      name,
      layer: 'frozen for private fields too',
      attempt: () => stamps(shared),
      control: () => stamps(shared, []),
    }),
  ),
];
