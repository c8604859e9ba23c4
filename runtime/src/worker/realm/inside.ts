/**
 * The inside of a worker's realm. This function is evaluated there by its source text, so it refers
 * to nothing around it.
 *
 * No object of the outer realm is handed in, not even a function. Such an object brings the
 * constructors of its own realm, and any call may throw an error of that realm. The outside passes
 * text in and fetches text after each turn of the loop.
 */

/**
 * The functions of the inner realm that the outside holds. All take and return only text, and
 * functions of the inner realm.
 */
export interface Inside {
  /**
   * Takes the compiled bundle, the names of its parameters after `module` and `exports`, and the
   * methods that it must have, both as JSON. Returns the missing methods, or the empty text.
   */
  load(bundle: (...globals: unknown[]) => unknown, names: string, methods: string): string;
  /**
   * Names of the bundle's handlers as JSON; null if it exports none. For the author, before any
   * boot.
   */
  names(): string;
  /** Takes a message of the runtime. Returns the call whose code it runs, or -1. */
  receive(text: string): number;
  /**
   * Prepares an instance of the bundle for a call to come, unless enough are ready. Returns whether
   * it made one.
   */
  prepare(): boolean;
  /**
   * Messages to the runtime since the last time, or the empty text. Each begins with a line feed
   * and three spaces, in whose place the outside writes its length.
   */
  take(): string;
  /**
   * Notes to the author of the handlers since the last time, as JSON, one per line. Empty in the
   * VM.
   */
  notes(): string;
}

/**
 * A note to the author on the author's own machine: an error that a handler threw, or a line that
 * it wrote to the console.
 */
export type AuthorNote =
  | { readonly kind: 'threw'; readonly method: string; readonly text: string }
  | { readonly kind: 'console'; readonly level: string; readonly text: string };

/** Globals that each bundle instance has of its own, besides `module` and `exports`. */
export const GLOBALS: readonly string[] = [
  'globalThis',
  'self',
  'global',
  'Date',
  'Math',
  'crypto',
  'queueMicrotask',
  'TextEncoder',
  'TextDecoder',
  'atob',
  'btoa',
];

// biome-ignore-start lint/suspicious/noExplicitAny: it walks over every object of a realm
/**
 * Hardens the realm it is evaluated in and returns the bridge.
 *
 * @param author whether the author runs the handlers (`enclaim dev`): errors then have stacks, and
 * there is a console. The VM evaluates this function without an argument, and nothing that runs in
 * the realm reaches it.
 */
export function inside(author?: boolean): Inside {
  const { parse, stringify } = JSON;
  const RealDate = Date;
  // The engine's own constructors, for arrays of known length made here. Handlers get bounded ones.
  const Bytes = Uint8Array;
  const Words = Uint32Array;
  /** Bytes of one buffer. */
  const MAX_BUFFER_BYTES = 64 * 1024 * 1024;
  const { StatusError, statusOf } = statuses();
  const shared = { TextEncoder: textEncoder(), TextDecoder: textDecoder(), ...base64() };
  harden();

  type Status = { readonly code: string; readonly text: string };
  type Instance = { handlers: any; begin: (time: number, seed: string) => void };
  type Asker = { call: number; settled: () => void; resolve: (value: any) => void; reject: (error: Error) => void };
  const READY = 8;
  const MAX_WAITING = 256;
  const ready: Instance[] = [];
  const waiting = new Map<number, Asker>();
  const running = new Map<number, { cancel: () => void }>();
  let bundle: ((...globals: unknown[]) => unknown) | undefined;
  let names: string[] = [];
  let said = '';
  let operations = 0;
  let noted = '';
  const say = (text: string): void => {
    said += `\n   ${text}`;
  };
  /** A message and the value that it carries (protocol.ts). */
  const written = (message: object, carried: { readonly value: unknown } | undefined): string => {
    if (carried === undefined) return stringify(message);
    const json = stringify(carried.value);
    if (json === undefined) throw new TypeError('a value without a JSON form');
    return `${stringify(message)}\t${json}`;
  };

  /**
   * Runs the bundle once, for one call. Every module and every object that it makes belongs to this
   * call alone.
   */
  function instantiate(): Instance {
    let now = Number.NaN;
    // Modules draw the same numbers in every instance while they load: no randomness was granted
    // yet.
    let key = '00'.repeat(32);
    let begun = false;
    let stream: ((length: number) => Uint8Array) | undefined;
    const random = (length: number): Uint8Array => {
      stream ??= chacha20(key);
      return stream(length);
    };
    const granted = (length: number): Uint8Array => {
      if (!begun) throw new TypeError('there is no randomness before a call');
      return random(length);
    };
    const module = { exports: {} as any };
    const globals: any = Object.create(globalThis);
    const own: any = {
      globalThis: globals,
      self: globals,
      global: globals,
      Date: dateAt(() => now),
      Math: mathWith(() => {
        const [a = 0, b = 0] = new Words(random(8).buffer);
        return ((a >>> 5) * 67108864 + (b >>> 6)) / 9007199254740992;
      }),
      crypto: {
        getRandomValues: (array: any) => {
          const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
          bytes.set(granted(bytes.length));
          return array;
        },
        randomUUID: () => uuid(granted(16)),
      },
      queueMicrotask: (action: () => unknown) => void Promise.resolve().then(() => void action()),
      ...shared,
      ...(author && { console: authorsConsole() }),
    };
    const property = { value: undefined, writable: true, configurable: true };
    for (const name of Object.keys(own)) {
      property.value = own[name];
      Object.defineProperty(globals, name, property);
    }
    bundle?.(module, module.exports, ...names.map((name) => own[name]));
    return {
      handlers: module.exports.handlers,
      begin: (time, seed) => {
        now = time;
        key = seed;
        begun = true;
        stream = undefined;
      },
    };
  }

  function start(message: any, request: unknown): void {
    const { call, method, streams, reads, stores, sends, releases, time, id, seed } = message;
    // Made only for handlers that need them: most calls ask for nothing.
    let ended: Set<() => void> | undefined;
    let mine: Set<number> | undefined;
    let over = false;
    const ask = (question: any, value?: { readonly value: unknown }): Promise<any> =>
      new Promise((resolve, reject) => {
        if (over) throw new Error('the call is over');
        mine ??= new Set();
        const asked = mine;
        if (asked.size >= MAX_WAITING) throw new RangeError(`more than ${MAX_WAITING} operations at once`);
        const operation = operations++;
        // Before it waits, because it may throw.
        const text = written({ ...question, call, operation }, value);
        asked.add(operation);
        const settled = (): void => void asked.delete(operation);
        waiting.set(operation, { call, settled, resolve, reject });
        say(text);
      });
    const end = (last: object | undefined): void => {
      if (over) return;
      over = true;
      running.delete(call);
      for (const operation of mine ?? []) waiting.delete(operation);
      if (last !== undefined) say(stringify(last));
    };
    let aborted = false;
    const cancel = (): void => {
      end({ kind: 'ended', call });
      aborted = true;
      for (const action of ended ?? []) {
        try {
          action();
        } catch {
          // An error of the handler's own listener is ignored: the worker has further calls.
        }
      }
    };
    running.set(call, { cancel });
    const collections: any = {};
    for (const name of new Set<string>([...reads, ...stores])) {
      collections[name] = Object.freeze({
        ...(reads.includes(name) && {
          get: (key: unknown) => ask({ kind: 'get', collection: name, key }),
          list: () => ask({ kind: 'list', collection: name }),
        }),
        ...(stores.includes(name) && {
          put: (key: unknown, value: unknown) => ask({ kind: 'put', collection: name, key }, { value }),
          delete: (key: unknown) => ask({ kind: 'delete', collection: name, key }),
        }),
      });
    }
    const receivers: any = {};
    for (const to of Object.keys(sends)) {
      const methods: any = {};
      for (const name of sends[to])
        methods[name] = (message: unknown = {}) => ask({ kind: 'egress', to, method: name }, { value: message });
      receivers[to] = Object.freeze(methods);
    }
    const release: any = {};
    for (const rule of releases) release[rule] = (keys: object = {}) => ask({ kind: 'release', rule, keys });
    const ctx = Object.freeze({
      now: () => time,
      requestId: id,
      store: Object.freeze(collections),
      call: Object.freeze(receivers),
      release: Object.freeze(release),
      log: (event: unknown, data: unknown = null) => ask({ kind: 'log', event }, { value: data }),
      signal: Object.freeze({
        get aborted() {
          return aborted;
        },
        addEventListener: (_: string, action: () => void) => {
          ended ??= new Set();
          ended.add(action);
        },
        removeEventListener: (_: string, action: () => void) => void ended?.delete(action),
      }),
    });
    const incoming = {
      [Symbol.asyncIterator]: () => ({
        next: () => ask({ kind: 'next' }),
        return: async () => ({ done: true, value: undefined }),
      }),
    };
    const run = async (): Promise<unknown> => {
      const { handlers, begin } = ready.pop() ?? instantiate();
      begin(RealDate.parse(time), seed);
      const answer = handlers[method](streams.request ? incoming : request, ctx);
      if (!streams.response) return answer;
      for await (const message of await answer) await ask({ kind: 'send' }, { value: message ?? null });
      return null;
    };
    run().then(
      (response) => {
        let text: string;
        try {
          text = written({ kind: 'done', call }, { value: response ?? null });
        } catch {
          end({ kind: 'failed', call });
          return;
        }
        if (!over) say(text);
        end(undefined);
      },
      (error) => {
        const status = statusOf(error);
        if (author && status === undefined) note({ kind: 'threw', method, text: describe(error) });
        end(status === undefined ? { kind: 'failed', call } : { kind: 'status', call, ...status });
      },
    );
  }

  return {
    load: (compiled, globals, methods) => {
      names = parse(globals);
      // Freezes the function that makes an instance. All else that calls share is already out of
      // reach or frozen.
      Object.freeze(compiled.prototype);
      bundle = Object.freeze(compiled);
      const { handlers } = instantiate();
      const missing = parse(methods).filter((method: string) => typeof handlers?.[method] !== 'function');
      return missing.join(', ');
    },
    names: () => {
      const { handlers } = instantiate();
      if (typeof handlers !== 'object' || handlers === null) return 'null';
      const found = new Set<string>();
      // Inherited methods count too, because the bridge calls them.
      for (let at = handlers; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at))
        for (const key of Object.getOwnPropertyNames(at))
          if (key !== 'constructor' && typeof handlers[key] === 'function') found.add(key);
      return stringify([...found]);
    },
    prepare: () => {
      if (ready.length >= READY) return false;
      ready.push(instantiate());
      return true;
    },
    receive: (text) => {
      const mark = text.indexOf('\t');
      const message = parse(mark < 0 ? text : text.slice(0, mark));
      const value = mark < 0 ? undefined : parse(text.slice(mark + 1));
      switch (message.kind) {
        case 'call':
          start(message, value);
          return message.call;
        case 'cancel':
          if (running.has(message.call)) running.get(message.call)?.cancel();
          else say(stringify({ kind: 'ended', call: message.call }));
          return message.call;
        case 'ping':
          say(stringify({ kind: 'pong', ping: message.ping }));
          return -1;
        default: {
          const asker = waiting.get(message.operation);
          waiting.delete(message.operation);
          asker?.settled();
          if (message.kind === 'result') asker?.resolve(value);
          else asker?.reject(Object.assign(new Error(message.message), { code: message.code }));
          return asker?.call ?? -1;
        }
      }
    },
    take: () => {
      const text = said;
      said = '';
      return text;
    },
    notes: () => {
      const text = noted;
      noted = '';
      return text;
    },
  };

  /** Takes a note for the author, as long as there is room for it. */
  function note(what: AuthorNote): void {
    const text = `${stringify({ ...what, text: what.text.slice(0, 16_384) })}\n`;
    if (noted.length + text.length <= 1_048_576) noted += text;
  }

  function authorsConsole(): unknown {
    const written =
      (level: string) =>
      (...parts: unknown[]): void =>
        note({ kind: 'console', level, text: parts.map(describe).join(' ') });
    return Object.fromEntries(
      ['debug', 'error', 'info', 'log', 'trace', 'warn'].map((level) => [level, written(level)]),
    );
  }

  /**
   * Any value as text: an error as its stack and causes, anything else as JSON. A getter or
   * `toJSON` of the value may throw.
   */
  function describe(what: any): string {
    try {
      if (what instanceof Error)
        return `${what.stack || what}${what.cause === undefined ? '' : `\ncaused by: ${describe(what.cause)}`}`;
      return typeof what === 'string' ? what : (stringify(what) ?? String(what));
    } catch {
      return 'something without a text';
    }
  }

  /**
   * Removes clocks, shared memory and state that outlives a call, then freezes all that is left.
   */
  function harden(): void {
    const global: any = globalThis;
    // Memory shared by threads, code other than JavaScript, what garbage collection reveals, the
    // inspector's console.
    for (const name of ['SharedArrayBuffer', 'Atomics', 'WebAssembly', 'WeakRef', 'FinalizationRegistry', 'console']) {
      delete global[name];
    }
    // **Leak**: through these a call could read the last match of the call before it.
    for (const name of Object.getOwnPropertyNames(RegExp)) {
      if (name !== 'prototype' && name !== 'length' && name !== 'name' && name !== 'escape')
        delete (RegExp as any)[name];
    }
    delete (RegExp.prototype as any).compile;
    if (!author) {
      // Without this property the engine takes no stacks, and never calls Node's code to write
      // them.
      delete (Error as any).stackTraceLimit;
      (Error as any).captureStackTrace = (object: object): void => {
        Object.defineProperty(object, 'stack', { value: '', writable: true, configurable: true });
      };
    }
    // Clocks and randomness. Each call gets its own, as the runtime granted them.
    if (global.Temporal !== undefined) delete global.Temporal.Now;
    global.Date = dateAt(() => {
      throw new TypeError('there is no clock here');
    });
    RealDate.prototype.constructor = global.Date;
    delete (Math as any).random;
    const formats: any = Intl.DateTimeFormat.prototype;
    const format = Object.getOwnPropertyDescriptor(formats, 'format')?.get as () => (date: unknown) => string;
    const formatToParts = formats.formatToParts;
    // Formatting undefined means formatting the present time, which is not known here. Libraries do
    // it only to test whether a zone exists.
    const given = (date: unknown): unknown => (date === undefined ? 0 : date);
    Object.defineProperty(formats, 'format', {
      get(this: object) {
        const bound = Reflect.apply(format, this, []);
        return (date: unknown) => bound(given(date));
      },
      configurable: true,
    });
    formats.formatToParts = function (this: object, date: unknown) {
      return Reflect.apply(formatToParts, this, [given(date)]);
    };

    boundBuffers();
    // Not a parameter of the bundle: handlers that declare a class of that name would no longer
    // compile.
    global.StatusError = StatusError;

    // Objects of kinds that no global names, reachable by syntax alone.
    const stack = Object.getOwnPropertyDescriptor(new Error(), 'stack');
    const hidden: unknown[] = [
      function* () {},
      async () => {},
      async function* () {},
      [][Symbol.iterator](),
      new Map().entries(),
      new Set().values(),
      ''[Symbol.iterator](),
      'a'.matchAll(/a/g),
      [].values().map((it) => it),
      Iterator.from({ next: () => ({ done: true, value: undefined }) } as any),
      new Intl.Segmenter().segment('a'),
      new Intl.Segmenter().segment('a')[Symbol.iterator](),
      (async function* () {})(),
      (function* () {})(),
      Object.getOwnPropertyDescriptor(Function.prototype, 'caller')?.get,
      stack?.get,
      stack?.set,
    ];
    const seen = new Set<object>();
    const queue: unknown[] = [global, shared, ...hidden];
    while (queue.length > 0) {
      const object: any = queue.pop();
      if ((typeof object !== 'object' && typeof object !== 'function') || object === null || seen.has(object)) continue;
      seen.add(object);
      queue.push(Object.getPrototypeOf(object));
      for (const key of Reflect.ownKeys(object)) {
        const found: PropertyDescriptor = Object.getOwnPropertyDescriptor(object, key) ?? {};
        queue.push(found.value, found.get, found.set);
      }
    }
    const prototypes = new Set<unknown>([...seen].map((object) => Object.getPrototypeOf(object)));
    for (const object of seen) {
      if (prototypes.has(object)) for (const key of Reflect.ownKeys(object)) assignable(object, key);
      if (object !== global) Object.freeze(object);
    }
    Object.freeze(global);
  }

  /**
   * Replaces the constructors of buffers by bounded ones.
   *
   * **Bound**: a buffer takes addresses but no memory until it is written. Without a bound, one
   * call could use up the addresses of the process, and another call could measure how many are
   * left. With it, the heap that buffers also take is used up long before. A buffer made from an
   * array or an iterable needs no bound: each of its bytes is written, so it takes memory.
   */
  function boundBuffers(): void {
    const global: any = globalThis;
    const typed = Object.getPrototypeOf(Int8Array);
    for (const name of Object.getOwnPropertyNames(global)) {
      const made = global[name];
      if (made !== ArrayBuffer && (typeof made !== 'function' || Object.getPrototypeOf(made) !== typed)) continue;
      const bounded = boundedBuffer(made);
      global[name] = bounded;
      Object.defineProperty(made.prototype, 'constructor', { value: bounded });
    }
    const buffers: any = Object.getPrototypeOf(new Bytes().buffer);
    for (const name of ['transfer', 'transferToFixedLength', 'transferToImmutable']) {
      const real = buffers[name];
      if (real === undefined) continue;
      const { [name]: method }: any = {
        [name](length?: unknown): unknown {
          return Reflect.apply(real, this, length === undefined ? [] : [withinBound(length, 1)]);
        },
      };
      Object.defineProperty(method, 'length', { value: real.length });
      buffers[name] = method;
    }
  }

  /**
   * A constructor in place of `Real`: of buffers, or of views that may make buffers of their own.
   */
  function boundedBuffer(Real: any): unknown {
    const { BYTES_PER_ELEMENT: unit } = Real;
    const bounded = function (first: any, second: any, third: any): unknown {
      if (new.target === undefined) throw new TypeError(`${Real.name} is made by new`);
      if (unit === undefined) {
        const length = withinBound(first, 1);
        if (second?.maxByteLength !== undefined) throw new TypeError('no buffer grows here');
        return Reflect.construct(Real, [length], new.target);
      }
      const given = typeof first === 'object' || typeof first === 'function';
      return Reflect.construct(Real, given ? [first, second, third] : [withinBound(first, unit)], new.target);
    };
    Object.setPrototypeOf(bounded, Object.getPrototypeOf(Real));
    return Object.defineProperties(bounded, Object.getOwnPropertyDescriptors(Real));
  }

  /**
   * Converts a length once, as the engine does.
   *
   * @throws RangeError if it is over the bound, no matter how much memory is left
   */
  function withinBound(length: any, unit: number): number {
    const number = +length;
    if (number * unit > MAX_BUFFER_BYTES) throw new RangeError(`a buffer of more than ${MAX_BUFFER_BYTES} bytes`);
    return number;
  }

  /**
   * Turns a property of a prototype into an accessor whose setter defines the receiver's own
   * property. Without this, a frozen prototype would forbid assignment on everything that inherits
   * from it: `this.name = …` in a class of errors would throw.
   */
  function assignable(object: any, key: string | symbol): void {
    const found = Object.getOwnPropertyDescriptor(object, key) as PropertyDescriptor;
    if (!('value' in found) || found.configurable !== true) return;
    const all = [Object.prototype, Function.prototype, Error.prototype].includes(object) || object instanceof Error;
    const names = ['toString', 'toLocaleString', 'valueOf', 'toJSON', 'name', 'message', 'next', 'return', 'throw'];
    // The engine takes the slow path for arrays, promises and patterns whose constructor is an
    // accessor, so theirs stays a plain property.
    const typed = Object.getPrototypeOf(Int8Array.prototype);
    const plain =
      [Array.prototype, Promise.prototype, RegExp.prototype, typed].includes(object) ||
      Object.getPrototypeOf(object) === typed;
    const iterators = typeof object.next === 'function' || object === Iterator.prototype;
    const wanted = all || iterators || names.includes(key as string) || (key === 'constructor' && !plain);
    if (!wanted) return;
    const { value, enumerable = false } = found;
    const get = Object.freeze(() => value);
    // A method, because it needs its receiver and must have no prototype of its own.
    const { set } = Object.freeze({
      set(this: any, given: unknown) {
        if (this === object) throw new TypeError(`cannot assign to read only property ${String(key)}`);
        Object.defineProperty(this, key, { value: given, writable: true, enumerable: true, configurable: true });
      },
    });
    Object.defineProperty(object, key, { get, set: Object.freeze(set), enumerable, configurable: true });
  }

  /** A `Date` that stands still at the time of the call. */
  function dateAt(now: () => number): unknown {
    const { Date: Still }: any = {
      Date: function (...parts: unknown[]): unknown {
        if (new.target === undefined) return new RealDate(now()).toString();
        return Reflect.construct(RealDate, parts.length === 0 ? [now()] : parts, new.target);
      },
    };
    Still.prototype = RealDate.prototype;
    Still.now = now;
    Still.UTC = RealDate.UTC;
    Still.parse = RealDate.parse;
    return Still;
  }

  function mathWith(value: () => number): unknown {
    const random = { value, writable: true, configurable: true };
    return Object.defineProperty(Object.create(Math), 'random', random);
  }

  function uuid(bytes: Uint8Array): string {
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }

  /**
   * ChaCha20 (RFC 8439, 2.3) as a source of bytes. Its key is the seed that the runtime granted
   * this call, 64 hex digits.
   */
  function chacha20(seed: string): (length: number) => Uint8Array {
    const state = new Words(16);
    state.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);
    state.set(new Words(Bytes.fromHex(seed).buffer), 4);
    const block = new Words(16);
    const left = new Bytes(block.buffer);
    let used = left.length;
    const quarter = (a: number, b: number, c: number, d: number): void => {
      for (const [x, y, z, turn] of [
        [a, b, d, 16],
        [c, d, b, 12],
        [a, b, d, 8],
        [c, d, b, 7],
      ] as const) {
        const sum = ((block[x] ?? 0) + (block[y] ?? 0)) >>> 0;
        const mixed = (block[z] ?? 0) ^ sum;
        block[x] = sum;
        block[z] = (mixed << turn) | (mixed >>> (32 - turn));
      }
    };
    const refill = (): void => {
      block.set(state);
      for (let round = 0; round < 10; round++) {
        for (let at = 0; at < 4; at++) quarter(at, at + 4, at + 8, at + 12);
        for (let at = 0; at < 4; at++) quarter(at, 4 + ((at + 1) % 4), 8 + ((at + 2) % 4), 12 + ((at + 3) % 4));
      }
      for (let at = 0; at < 16; at++) block[at] = (block[at] ?? 0) + (state[at] ?? 0);
      state[12] = (state[12] ?? 0) + 1;
      used = 0;
    };
    return (length) => {
      const bytes = new Bytes(length);
      for (let at = 0; at < length; at++) {
        if (used === left.length) refill();
        bytes[at] = left[used++] ?? 0;
      }
      return bytes;
    };
  }

  /**
   * The class of errors by which a handler ends its call with a status, and the function that reads
   * them. Only its constructor can set the private field that marks such an error. An object that
   * merely looks like one, such as a library's error, is therefore not taken for one.
   */
  function statuses(): { StatusError: unknown; statusOf: (error: unknown) => Status | undefined } {
    const codes = [
      ...['UNKNOWN', 'INVALID_ARGUMENT', 'NOT_FOUND', 'ALREADY_EXISTS', 'PERMISSION_DENIED'],
      ...['RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNAVAILABLE'],
    ];
    const longest = 256;
    let read: (error: object) => Status | undefined = () => undefined;
    class StatusError extends Error {
      static {
        read = (error) => (#status in error ? error.#status : undefined);
      }
      override readonly name = 'StatusError';
      readonly code: string;
      readonly #status: Status;
      constructor(code: string, text = '') {
        if (!codes.includes(code)) throw new TypeError(`no status that a handler may end with: ${String(code)}`);
        if (typeof text !== 'string' || text.length > longest || !text.isWellFormed())
          throw new TypeError(`the text of a status is well-formed and has at most ${longest} characters`);
        super(text);
        this.code = code;
        this.#status = { code, text };
      }
    }
    const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
    return { StatusError, statusOf: (error) => (isObject(error) ? read(error) : undefined) };
  }

  function textEncoder(): unknown {
    const latin1 = (text: string): string => unescape(encodeURIComponent(text.toWellFormed()));
    return class TextEncoder {
      readonly encoding = 'utf-8';
      encode(text = ''): Uint8Array {
        return Bytes.from(latin1(String(text)), (character) => character.charCodeAt(0));
      }
    };
  }

  function textDecoder(): unknown {
    const lengthAt = (bytes: Uint8Array, at: number): number => {
      const first = bytes[at] ?? 0;
      const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
      return length;
    };
    return class TextDecoder {
      readonly encoding = 'utf-8';
      readonly fatal: boolean;
      constructor(encoding = 'utf-8', { fatal = false } = {}) {
        if (!/^utf-?8$/i.test(encoding)) throw new RangeError(`no encoding ${encoding} here`);
        this.fatal = fatal;
      }
      decode(input: any = new Bytes()): string {
        const bytes = ArrayBuffer.isView(input)
          ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
          : new Uint8Array(input);
        let text = '';
        for (let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0; at < bytes.length; ) {
          const length = lengthAt(bytes, at);
          const character = new Bytes(bytes.buffer, bytes.byteOffset + at, Math.min(length, bytes.length - at));
          const escaped = `%${character.toHex().replace(/(..)(?=.)/g, '$1%')}`;
          try {
            if (length === 0) throw new URIError('not the start of a character');
            text += length === 1 ? String.fromCharCode(bytes[at] ?? 0) : decodeURIComponent(escaped);
            at += length;
          } catch {
            if (this.fatal) throw new TypeError('the bytes are not UTF-8');
            text += '\ufffd';
            at++;
          }
        }
        return text;
      }
    };
  }

  function base64(): { atob: (text: string) => string; btoa: (text: string) => string } {
    return {
      atob: (text) => Array.from(Bytes.fromBase64(text), (byte) => String.fromCharCode(byte)).join(''),
      btoa: (text) =>
        Bytes.from(String(text), (character) => {
          if (character.charCodeAt(0) > 0xff) throw new RangeError('a character over 255');
          return character.charCodeAt(0);
        }).toBase64(),
    };
  }
}
// biome-ignore-end lint/suspicious/noExplicitAny: it walks over every object of a realm
