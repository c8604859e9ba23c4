/** Values at their limits, and texts that something may stumble over. */

export const WHOLE: readonly bigint[] = [
  ...[0n, 0n, 1n, 2n, 7n, 127n, 128n, 300n, 16_383n, 16_384n, 2n ** 21n, 2n ** 28n, 2n ** 31n - 1n, 2n ** 31n],
  ...[2n ** 32n - 1n, 2n ** 32n, 2n ** 35n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n],
  ...[2n ** 64n - 1n, 2n ** 64n - 2n, 2n ** 64n - 2n ** 31n, 2n ** 64n - 2n ** 31n - 1n, 2n ** 64n - 2n ** 53n],
];

export const FRACTIONS: readonly number[] = [
  ...[0, -0, 1, -1, 0.1, 1.5, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 3.4028234663852886e38, 3.4028235677973366e38],
  ...[2 ** 53, 2 ** 53 + 2, -(2 ** 63), 2 ** 64, 123_456_789.123, 1e-50, Number.NaN, Infinity, -Infinity],
];

export const TEXTS: readonly string[] = [
  ...['', '', 'a', 'word', 'two words', 'ann@clinic.example', '4111 1111 1111 1111', 'DE89370400440532013000'],
  ...['"quoted"', 'back\\slash', 'line\nline', '\u0000', '\u001f', '\u007f', '\u0080', '\u2028', '\ufffd', '\ufeff'],
  ...['Zoë', 'naïve café', '日本語', '😀', 'a😀b', '__proto__', 'constructor', 'toString', '0', '1', '10', '01', '-1'],
  ...['4294967294', '4294967295', 'null', 'true', 'word', 'left', 'NaN', '1e3', ' 1', 'x'.repeat(47), 'x'.repeat(48)],
  ...['x'.repeat(49), 'y'.repeat(127), 'z'.repeat(128), 'é'.repeat(100), 'long '.repeat(60), `${'q'.repeat(60)}"`],
];

/** Bytes that are no UTF-8. */
export const NO_TEXTS: readonly (readonly number[])[] = [
  [0xff],
  [0xc0, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0x61, 0xe2, 0x82],
  [0x80],
];

export const TIMES: readonly string[] = [
  ...['2026-11-30T10:00:00Z', '0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999999Z', '1970-01-01T00:00:00.5Z'],
  ...['2026-02-30T00:00:00Z', '2026-11-30T10:00:00+01:00', '2026-11-30 10:00:00Z', '10000-01-01T00:00:00Z', ''],
];

export const SPANS: readonly string[] = [
  ...['0s', '1s', '-1s', '1.5s', '-0.5s', '315576000000s', '315576000001s', '1.000000001s', '1.0000000001s', '1', 's'],
];
