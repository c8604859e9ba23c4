/** Part of the realm: instances of the bundle, one for each call. */

import type { ByteSource } from './chacha20.ts';
import type { StillClock } from './still-clock.ts';
import type { TextCodec } from './text-codec.ts';

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** An instance: what it exports as handlers, and the beginning of its call. */
export interface Instance {
  readonly handlers: any;
  /** Grants it a time, milliseconds since 1970, and a seed of 64 hex digits. */
  readonly begin: (time: number, seed: string) => void;
}

/** A compiled bundle, with the names of its parameters after `module` and `exports`. */
export interface LoadedBundle {
  readonly run: (...globals: unknown[]) => unknown;
  readonly names: readonly string[];
}

/** Parts of an instance beside the bundle. */
export interface InstanceParts {
  /** Globals that all instances share, frozen. */
  readonly shared: TextCodec;
  readonly clock: StillClock;
  readonly chacha20: (seed: string) => ByteSource;
  /** A console for the author; undefined in the VM. */
  readonly console: unknown;
}

/**
 * Returns a function that runs a bundle once, for one call. Every module and every object that it
 * makes belongs to this call alone.
 */
export function bundleInstances({ shared, clock, chacha20, console }: InstanceParts): (of: LoadedBundle) => Instance {
  const Words = Uint32Array;
  const ALTERABLE = { writable: true, enumerable: true, configurable: true };

  function mathWith(value: () => number): unknown {
    const random = { value, writable: true, configurable: true };
    return Object.defineProperty(Object.create(Math), 'random', random);
  }

  function uuid(bytes: Uint8Array): string {
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }

  return ({ run, names }) => {
    let now = Number.NaN;
    // Modules draw the same numbers in every instance while they load: no randomness was granted
    // yet.
    let key = '00'.repeat(32);
    let begun = false;
    let stream: ByteSource | undefined;
    const random = (length: number): Uint8Array => {
      stream ??= chacha20(key);
      return stream(length);
    };
    const granted = (length: number): Uint8Array => {
      if (!begun) throw new TypeError('there is no randomness before a call');
      return random(length);
    };
    const fraction = (): number => {
      const [a = 0, b = 0] = new Words(random(8).buffer);
      return ((a >>> 5) * 67108864 + (b >>> 6)) / 9007199254740992;
    };
    const module = { exports: {} as any };
    // **Cost**: a literal, because properties that are defined one by one take three times as long.
    const globals: any = {
      __proto__: globalThis,
      globalThis: undefined,
      self: undefined,
      global: undefined,
      Date: clock.dateAt(() => now),
      Math: mathWith(fraction),
      crypto: {
        getRandomValues: (array: any) => {
          const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
          bytes.set(granted(bytes.length));
          return array;
        },
        randomUUID: () => uuid(granted(16)),
      },
      queueMicrotask: (action: () => unknown) => void Promise.resolve().then(() => void action()),
      TextEncoder: shared.TextEncoder,
      TextDecoder: shared.TextDecoder,
      atob: shared.atob,
      btoa: shared.btoa,
    };
    globals.globalThis = globals;
    globals.self = globals;
    globals.global = globals;
    if (console !== undefined) Object.defineProperty(globals, 'console', { value: console, ...ALTERABLE });
    run(module, module.exports, ...names.map((name) => globals[name]));
    return {
      handlers: module.exports.handlers,
      begin: (time, seed) => {
        now = time;
        key = seed;
        begun = true;
        stream = undefined;
      },
    };
  };
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
