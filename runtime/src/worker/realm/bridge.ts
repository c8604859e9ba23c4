/** Part of the realm: it calls the other parts, in order, and gives the outside its functions. */

import type { RealmParts } from './parts.ts';

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

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/**
 * Hardens the realm it is evaluated in and returns the bridge.
 *
 * @param author whether the author runs the handlers (`enclaim dev`): errors then have stacks, and
 * there is a console. The VM evaluates this function without it, and nothing that runs in the
 * realm reaches it.
 */
export function bridge(parts: RealmParts, author?: boolean): Inside {
  const { parse, stringify } = JSON;
  const MAX_READY = 8;
  // These keep what the realm loses below.
  const clock = parts.stillClock();
  const chacha20 = parts.chacha20();
  const { StatusError, statusOf } = parts.statuses();
  const shared = { ...parts.textCodec() };
  const notes = author ? parts.authorNotes() : null;
  const instantiate = parts.bundleInstances({ shared, clock, chacha20, console: notes?.console() });
  parts.removeState(clock, author === true);
  parts.boundBuffers();
  // Not a parameter of the bundle: handlers that declare a class of that name would no longer
  // compile.
  (globalThis as any).StatusError = StatusError;
  parts.freezeRealm([shared]);

  const outbox = parts.realmOutbox();
  const operations = parts.pendingOperations(outbox, parts.liveMap);
  const calls = parts.openCalls(outbox, operations, parts.liveMap);
  const ready: ReturnType<typeof instantiate>[] = [];
  let loaded: Parameters<typeof instantiate>[0] = { run: () => undefined, names: [] };
  const instance = () => ready.pop() ?? instantiate(loaded);
  const { handlerContext } = parts;
  const start = parts.handlerRun({ outbox, calls, clock, statusOf, handlerContext, instance, notes });

  return {
    load: (compiled, globals, methods) => {
      // Freezes the function that makes an instance. All else that calls share is already out of
      // reach or frozen.
      Object.freeze(compiled.prototype);
      loaded = { run: Object.freeze(compiled), names: parse(globals) };
      const { handlers } = instantiate(loaded);
      const missing = parse(methods).filter((method: string) => typeof handlers?.[method] !== 'function');
      return missing.join(', ');
    },
    names: () => {
      const { handlers } = instantiate(loaded);
      if (typeof handlers !== 'object' || handlers === null) return 'null';
      const found = new Set<string>();
      // Inherited methods count too, because the bridge calls them.
      for (let at = handlers; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at))
        for (const key of Object.getOwnPropertyNames(at))
          if (key !== 'constructor' && typeof handlers[key] === 'function') found.add(key);
      return stringify([...found]);
    },
    prepare: () => {
      if (ready.length >= MAX_READY) return false;
      ready.push(instantiate(loaded));
      return true;
    },
    receive: (text) => {
      const mark = text.indexOf('\t');
      const message = parse(mark < 0 ? text : text.slice(0, mark));
      const value = mark < 0 ? undefined : parse(text.slice(mark + 1));
      if (message.kind === 'call') start(message, value);
      else if (message.kind === 'cancel') calls.cancel(message.call);
      else if (message.kind !== 'ping') return operations.settle(message, value);
      else outbox.put(stringify({ kind: 'pong', ping: message.ping }));
      return message.kind === 'ping' ? -1 : message.call;
    },
    take: outbox.take,
    notes: () => notes?.take() ?? '',
  };
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
