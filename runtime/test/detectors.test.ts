/** Leak detectors: what each finds, in which presentations, what it leaves, and that no text makes them slow. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detect, type LeakDetector, recognisable } from '../src/flow/detectors.ts';

const ALL: readonly LeakDetector[] = ['credential', 'email', 'exact-match', 'iban', 'payment-card'];
const nothing: ReadonlySet<string> = new Set();
const found = (text: string): LeakDetector[] => detect(ALL, [text], nothing);

/** IBANs from the registry's examples, card numbers from the networks' test sets, key formats with made-up bodies. */
const FOUND: Readonly<Record<Exclude<LeakDetector, 'exact-match'>, readonly string[]>> = {
  email: [
    'write to jane.doe+x@mail.clinic.example today',
    'a@b.de',
    'jané@klinik-münchen.de',
    '"jane doe"@clinic.example',
    '“jane doe”@clinic.example',
    '"a\\"b"@clinic.example',
    'jane!@clinic.example',
    '{jane}@clinic.example',
    'jane@[192.0.2.17]',
    'jane@[IPv6:2001:db8::1]',
    'jane @ clinic.example',
    'jane@clinic。example',
  ],
  iban: [
    'DE89 3704 0044 0532 0130 00',
    'DE89\u00a03704\u202f0044\u00a00532\u00a00130\u00a000',
    'GB82WEST12345698765432',
    'to: no9386011117947 please',
    'IBANDE89370400440532013000',
    'MT84MALT011000012345MTLCAST001S',
    'FR14 2004 1010 0505 0001 3M02 606',
    'XK051212012345678906',
    'LC55HEMM000100010012001200023015',
  ],
  'payment-card': [
    '4111 1111 1111 1111',
    '378282246310005',
    '5555-5555-5555-4444',
    '4111 1111 1111 1111 12/27',
    '2 4111-1111-1111-1111',
    '4111111111111111 123',
    '1 378282246310005 5',
    '4111.1111.1111.1111',
    '4111/1111/1111/1111',
    '4111\u00a01111\u00a01111\u00a01111',
    '4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1',
    '411111 1111 111111',
    '3782 822463 10005 1226',
    '12 3056 930902 5904',
    '6304 0000 0000 0000 000 5',
    '4111 4111 1111 1111 1111',
    '41111111111111111227',
    '274111111111111111',
    '94111 1111 1111 1111',
    '4111 1111 1111 11119',
    'card4111111111111111x',
  ],
  credential: [
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    '-----BEGIN PGP PRIVATE KEY BLOCK-----',
    '-----BEGIN PRIVATE KEY-----',
    '—–BEGIN RSA PRIVATE KEY—–',
    '-----begin rsa  private\tkey-----',
    `AKIA${'ABCDEFGHIJKLMNOP'}`,
    `key=AKIA${'ABCDEFGHIJKLMNOP'}and`,
    `9AKIA${'ABCDEFGHIJKLMNOP'}7`,
    `ghp_${'a1'.repeat(18)}`,
    `7ghp_${'a1'.repeat(18)}`,
    `xoxb-${'1234567890-ab'}`,
    `sk_live_${'0123456789abcdef'}`,
    `0sk-proj-${'0123456789abcdefABCD'}`,
    'Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0xMjM.c2ln',
    `${'-eyJ'.repeat(1000)}hbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0xMjM.c2ln`,
    ...['-', '_', '.', 'x', 'a.b.', 'eyJ.', '-eyJa.eyJ-'].map(
      (before) => `${before}eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0xMjM.c2ln`,
    ),
    // A brace, then what JSON may have there.
    ...['{ ', '{\n  ', '{\r\n', '{\t'].flatMap((brace) => [
      tokenOf(`${brace}"alg":"ES256"}`, '{"sub":"123"}'),
      tokenOf('{"alg":"ES256"}', `${brace}"sub":"123"}`),
    ]),
  ],
};

function tokenOf(...parts: readonly string[]): string {
  return [...parts.map((part) => Buffer.from(part).toString('base64url')), 'c2lnbmF0dXJl'].join('.');
}

/** Ways to show one and the same text. */
const PRESENTATIONS: Readonly<Record<string, (text: string) => string>> = {
  'as it is': (text) => text,
  'in full width': (text) =>
    text.replace(/[!-~]/g, (character) => String.fromCharCode(character.charCodeAt(0) + 0xfee0)),
  'in mathematical digits': (text) =>
    text.replace(/[0-9]/g, (digit) => String.fromCodePoint(0x1d7ce + digit.charCodeAt(0) - 0x30)),
  'in Arabic-Indic digits': (text) =>
    text.replace(/[0-9]/g, (digit) => String.fromCodePoint(0x660 + digit.charCodeAt(0) - 0x30)),
  decomposed: (text) => text.normalize('NFD'),
  'with accents': (text) => text.replace(/[a-z0-9]/gi, '$&\u0301'),
  'with joiners of no width': (text) => text.replace(/./gu, '$&\u200d\ufeff'),
  'with soft hyphens': (text) => text.replace(/./gu, '$&\u00ad'),
  'with variation selectors and tags': (text) => text.replace(/./gu, '$&\ufe0f\u{e0041}'),
  'from right to left': (text) => `\u202e${text}\u202c`,
  'beside letters of another script': (text) => `是${text}の`,
  'in quotation marks': (text) => `("${text}")`,
  'on a line of its own': (text) => `x\n${text}\r\ny`,
};

for (const [detector, texts] of Object.entries(FOUND) as [LeakDetector, readonly string[]][]) {
  for (const [presentation, show] of Object.entries(PRESENTATIONS)) {
    test(`${detector} finds texts ${presentation}`, () => {
      for (const text of texts) assert.deepEqual(found(show(text)), [detector], text.slice(-80));
    });
  }
  test(`${detector} finds nothing where it is not asked for`, () => {
    for (const text of texts) assert.deepEqual(detect([], [text], nothing), []);
  });
}

/** Numbers in groups, between which stands what a class of separators has. */
const SEPARATORS = [
  ...[' ', '  ', '\t', '\n', '\r\n', '\v', '\f', '\u0085', '\u00a0', '\u1680', '\u2003', '\u2028', '\u2029', '\u202f'],
  ...['\u205f', '\u3000', '-', ' - ', '\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u2212', '\ufe63', '\uff0d'],
  ...['.', '_', '\u203f', '/', '\u2044', '\u00b7', '\u2022', '\u200b', '\u200b-\u200b', '\u2060', '\u3164'],
];

test('numbers are found with every separator between their groups', () => {
  for (const [detector, groups] of [
    ['iban', ['DE89', '3704', '0044', '0532', '0130', '00']],
    ['iban', ['gb82', 'west', '1234', '5698', '7654', '32']],
    ['payment-card', ['4111', '1111', '1111', '1111']],
    ['payment-card', ['3782', '822463', '10005']],
    ['payment-card', ['3056', '930902', '5904']],
  ] as const) {
    for (const separator of SEPARATORS) {
      const text = groups.join(separator);
      for (const shown of [text, `x${text}`, `${text}x`, `12${separator}${text}`, `${text}${separator}34`]) {
        assert.deepEqual(found(shown), [detector], JSON.stringify(shown));
      }
    }
  }
});

const LEFT: readonly string[] = [
  'jane at clinic dot example',
  '@mention and a@b',
  'DE89 3704 0044 0532 0130 01',
  'ZZ89 3704 0044 0532 0130 00',
  '4111 1111 1111 1112',
  '4111, 1111, 1111, 1111',
  'order 1234567890123',
  '-----BEGIN CERTIFICATE-----',
  '-----BEGIN PGP PUBLIC KEY BLOCK-----',
  'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  'sk-management-system-overview-page',
  'the task-management-system-of-2026 is here',
];

for (const text of LEFT) test(`"${text}" is nothing`, () => assert.deepEqual(found(text), []));

/** Numbers by a fixed rule, as many as are asked for: the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn;
    return Number((state >> 20n) % BigInt(below));
  };
}

/** Harmless texts: a thousand of each kind, and how many of them are found to be what they are not. */
const HARMLESS: Readonly<Record<string, readonly [make: (next: (below: number) => number) => string, most: number]>> = {
  'identifiers in UUID form': [
    (next) => hexOf(next, 32).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5'),
    1,
  ],
  digests: [(next) => `sha256:${hexOf(next, 64)}`, 3],
  'bytes in base64': [(next) => Buffer.from(hexOf(next, 512), 'hex').toString('base64'), 0],
  'seconds since 1970': [(next) => String(1_700_000_000 + next(10 ** 8)), 0],
  'milliseconds since 1970': [(next) => String(1_700_000_000_000 + next(10 ** 11)), 0],
  'microseconds since 1970': [(next) => String(1_700_000_000_000_000 + next(10 ** 14)), 30],
  'nanoseconds since 1970': [(next) => `17${String(next(10 ** 9))}${String(next(10 ** 8)).padStart(8, '0')}`, 60],
  'times of RFC 3339': [(next) => new Date(1_700_000_000_000 + next(10 ** 11)).toISOString(), 0],
  'dates and times with points': [
    (next) => {
      const [day, month, hour, minute] = [1 + next(28), 1 + next(12), next(24), next(60)].map((part) =>
        String(part).padStart(2, '0'),
      );
      return `${day}.${month}.2026 ${hour}:${minute}`;
    },
    0,
  ],
  'times in one number': [(next) => `2026${String(next(10 ** 10)).padStart(10, '0')}`, 0],
  amounts: [(next) => `${next(10 ** 6)}.${next(100)} EUR, ${next(1000)},${next(1000)},${next(1000)}.00`, 0],
  'places on the earth': [(next) => `${next(90)}.${next(10 ** 9)}${next(10 ** 6)}, ${next(180)}.${next(10 ** 9)}`, 0],
  fractions: [(next) => String(next(10 ** 15) / 10 ** 15), 0],
  'phone numbers': [(next) => `+49 ${100 + next(900)} ${next(10 ** 7)}`, 0],
  addresses: [(next) => `${[0, 0, 0, 0].map(() => next(256)).join('.')}:${next(65536)}`, 0],
  versions: [(next) => `pkg@${next(30)}.${next(30)}.${next(30)}`, 0],
  'sequence numbers': [(next) => `no. ${next(10 ** 9)} of ${next(10 ** 9)}`, 0],
  sentences: [
    (next) =>
      Array.from(
        { length: 12 },
        () => 'at 12 in room no 14 we are to be de facto es pt 30 it gb lt is'.split(' ')[next(17)],
      ).join(' '),
    0,
  ],
};

function hexOf(next: (below: number) => number, length: number): string {
  return Array.from({ length }, () => next(16).toString(16)).join('');
}

test('harmless texts are left, but for a few that nothing tells from a card', () => {
  const counted = Object.entries(HARMLESS).map(([kind, [make, most]], at) => {
    const next = numbers(at + 1);
    const wrong = Array.from({ length: 1000 }, () => make(next)).filter((text) => found(text).length > 0);
    return [kind, wrong.length, most, wrong[0]] as const;
  });
  assert.deepEqual(
    counted.filter(([, wrong, most]) => wrong > most),
    [],
  );
});

test('exact-match finds a value under any name and however it is written, and no part of it', () => {
  const forbidden = new Set(recognisable(['positive since May', 'HIV', 'Zoë Müller']));
  for (const text of [
    ' positive since May ',
    'Positive since May.',
    'POSITIVE  SINCE\tMAY!',
    '"positive-since-may"',
    'ｐositive since May',
    'pos\u200ditive since May',
    'Zoe\u0308 Mu\u0308ller',
    'ZOË MÜLLER',
  ]) {
    assert.deepEqual(detect(ALL, [text], forbidden), ['exact-match'], text);
  }
  for (const text of ['positive', 'HIV', 'not positive since May', ''])
    assert.deepEqual(detect(ALL, [text], forbidden), []);
});

/** Near misses: each keeps some pattern going for as long as it can, and starts it again wherever that is possible. */
const PIECES: readonly string[] = [
  ...['a', 'a.', '%', 'a@', '@a.b.', 'a@a-', 'a @ ', 'a@[1', `a@${'b.'.repeat(8)}1`, `a@${'b'.repeat(63)}.`],
  ...['1 ', '1-', '11 ', '1111 ', '1111-', '1111 111111 ', `${'1'.repeat(19)}a`, `${'1 '.repeat(18)}a`],
  ...['4111 ', '4111   ', '411111 ', '3782 822463 ', `4${'0'.repeat(23)} `, '4', '4 '],
  ...['DE89 ', 'AA00 ', 'A1', `GB00${' A'.repeat(30)} `, 'MT84', 'FR14 ', `LC55${'0   '.repeat(24)}`],
  ...[
    'eyJ',
    'eyJa.',
    '-eyJ',
    '_eyJ',
    '-eyJa.eyJ',
    '-eyJaaaaaaaa.',
    '.eyJaaaaaaaa',
    '.eyJ-',
    'a.eyJ-eyJ',
    '.ewogaaaaaaaa',
  ],
  ...[
    '-----BEGIN ',
    '-----BEGIN A',
    '-BEGIN  ',
    '-AKIA',
    '-ghp_',
    '-ghp_a',
    '-github_pat_',
    'xoxb-',
    'xoxb-a',
    '-sk_live_',
  ],
  ...['-AIza', '-glpat-', 'sk-', '-sk-', 'sk-a', 'AKIAA'],
  ...['\u0301\u0323', 'a\u0323\u0301', '\ufdfa', '\u200d', '\u00a0', '\u0664\u200b', '１', '한', '\ud800'],
];

/** Milliseconds of this process's processor. */
function costOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

// In linear time a text four times as long costs four times as much; in that of its square, sixteen times.
test('a text of any near miss costs as much as it is long', () => {
  const forbidden = new Set(['NONE']);
  for (const piece of PIECES) {
    const costs = (): number[] =>
      [2 ** 18, 2 ** 20].map((length) => {
        const text = piece.repeat(length / piece.length);
        return costOf(() => detect(ALL, [text], forbidden));
      });
    const isLinear = ([short = 0, long = 0]: number[]): boolean => long < 50 || long < short * 10;
    // A collection of garbage may fall into one look, hardly into each of three.
    const tried = [costs()];
    while (tried.length < 3 && !tried.some(isLinear)) tried.push(costs());
    assert.ok(tried.some(isLinear), `${JSON.stringify(piece)}: ${tried.join(' and ')} ms`);
  }
});

test('a list of any length is looked through', () => {
  const texts = [...Array(300_000).fill('a'), 'a@b.de'];
  assert.deepEqual(detect(['email'], texts, nothing), ['email']);
  assert.deepEqual(recognisable([...texts, 'a@b.example']), ['ABEXAMPLE']);
});
