/** Part of the realm: buffers with a bound. */

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/**
 * Replaces the constructors of buffers by bounded ones.
 *
 * **Bound**: a buffer takes addresses but no memory until it is written. Without a bound, one
 * call could use up the addresses of the process, and another call could measure how many are
 * left. With it, the heap that buffers also take is used up long before. A buffer made from an
 * array or an iterable needs no bound: each of its bytes is written, so it takes memory.
 */
export function boundBuffers(): void {
  /** Bytes of one buffer. */
  const MAX_BUFFER_BYTES = 64 * 1024 * 1024;
  // The engine's own: the global is replaced below.
  const Bytes = Uint8Array;
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
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
