/** A PE32+ image with 1024 bytes of headers and one section, for tests of what reads and extends such images. */

/** Offsets that tests change. */
export const TINY = { coff: 0x40, optional: 0x58, table: 0x148, headers: 1024 } as const;

export function tinyPe(text = 'code'): Uint8Array {
  const out = new Uint8Array(TINY.headers + 512);
  const view = new DataView(out.buffer);
  view.setUint16(0, 0x5a4d, true);
  view.setUint32(0x3c, TINY.coff, true);
  view.setUint32(TINY.coff, 0x4550, true);
  view.setUint16(TINY.coff + 4, 0x8664, true);
  view.setUint16(TINY.coff + 6, 1, true);
  view.setUint32(TINY.coff + 8, 0x12345678, true); // a timestamp that must not survive
  view.setUint16(TINY.coff + 20, 240, true);
  const optional: readonly (readonly [number, number, 2 | 4])[] = [
    [0, 0x20b, 2],
    [32, 4096, 4],
    [36, 512, 4],
    [56, 8192, 4],
    [60, TINY.headers, 4],
    [108, 16, 4],
  ];
  for (const [at, value, size] of optional) {
    if (size === 2) view.setUint16(TINY.optional + at, value, true);
    else view.setUint32(TINY.optional + at, value, true);
  }
  out.set(Buffer.from('.text'), TINY.table);
  for (const [index, value] of [text.length, 4096, 512, TINY.headers].entries()) {
    view.setUint32(TINY.table + 8 + index * 4, value, true);
  }
  out.set(Buffer.from(text), TINY.headers);
  return out;
}
