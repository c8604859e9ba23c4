/** Part of the realm: what could carry something from one call to another is taken out. */

import type { StillClock } from './still-clock.ts';

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/**
 * Removes clocks, shared memory and state that outlives a call.
 *
 * @param author whether the author runs the handlers: errors then have stacks
 */
export function removeState(clock: StillClock, author: boolean): void {
  const global: any = globalThis;
  // Memory shared by threads, code other than JavaScript, what garbage collection reveals, the
  // inspector's console.
  for (const name of ['SharedArrayBuffer', 'Atomics', 'WebAssembly', 'WeakRef', 'FinalizationRegistry', 'console']) {
    delete global[name];
  }
  // **Leak**: through these a call could read the last match of the call before it.
  for (const name of Object.getOwnPropertyNames(RegExp)) {
    if (name !== 'prototype' && name !== 'length' && name !== 'name' && name !== 'escape') delete (RegExp as any)[name];
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
  global.Date = clock.dateAt(() => {
    throw new TypeError('there is no clock here');
  });
  clock.RealDate.prototype.constructor = global.Date;
  delete (Math as any).random;
  formatGivenTimes();

  /**
   * Formatting undefined means formatting the present time, which is not known here. Libraries do
   * it only to test whether a zone exists.
   */
  function formatGivenTimes(): void {
    const formats: any = Intl.DateTimeFormat.prototype;
    const format = Object.getOwnPropertyDescriptor(formats, 'format')?.get as () => (date: unknown) => string;
    const formatToParts = formats.formatToParts;
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
  }
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
