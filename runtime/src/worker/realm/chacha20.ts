/** Part of the realm: the randomness that the runtime granted a call. */

/** Bytes of a stream, as many as are asked for. */
export type ByteSource = (length: number) => Uint8Array;

/**
 * ChaCha20 (RFC 8439, 2.3) as a source of bytes. Its key is the seed that the runtime granted the
 * call, 64 hex digits. It keeps the engine's own constructors, so it is called before those are
 * bounded.
 */
export function chacha20(): (seed: string) => ByteSource {
  const Bytes = Uint8Array;
  const Words = Uint32Array;
  return (seed) => {
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
  };
}
