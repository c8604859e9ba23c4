/** Leak detectors: what each finds, what it leaves, and that no text makes them slow. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detect, type LeakDetector, recognisable } from '../src/detectors.ts';

const ALL: readonly LeakDetector[] = ['credential', 'email', 'exact-match', 'iban', 'payment-card'];
const nothing: ReadonlySet<string> = new Set();

/** IBANs from the registry's examples, card numbers from the networks' test sets, key formats with made-up bodies. */
const FOUND: readonly (readonly [LeakDetector, string])[] = [
  ['email', 'write to jane.doe+x@mail.clinic.example today'],
  ['email', 'a@b.de'],
  ['email', 'jané@klinik-münchen.de'],
  ['iban', 'DE89 3704 0044 0532 0130 00'],
  ['iban', 'DE89\u00a03704\u202f0044\u00a00532\u00a00130\u00a000'],
  ['iban', 'GB82WEST12345698765432'],
  ['iban', 'to: no9386011117947 please'],
  ['payment-card', '4111 1111 1111 1111'],
  ['payment-card', '378282246310005'],
  ['payment-card', '5555-5555-5555-4444'],
  ...[
    '4111 1111 1111 1111 12/27',
    '2 4111-1111-1111-1111',
    '4111111111111111 123',
    '1 378282246310005 5',
    '4111.1111.1111.1111',
    '4111\u00a01111\u00a01111\u00a01111',
  ].map((text) => ['payment-card', text] as const),
  ...['3782 822463 10005 1226', '12 3056 930902 5904', '6304 0000 0000 0000 000 5', '4111 4111 1111 1111 1111'].map(
    (text) => ['payment-card', text] as const,
  ),
  ['credential', '-----BEGIN OPENSSH PRIVATE KEY-----'],
  ['credential', `AKIA${'ABCDEFGHIJKLMNOP'}`],
  ['credential', `key=AKIA${'ABCDEFGHIJKLMNOP'}and`],
  ['credential', `ghp_${'a1'.repeat(18)}`],
  ['credential', `xoxb-${'1234567890-ab'}`],
  ['credential', `sk_live_${'0123456789abcdef'}`],
  ['credential', 'Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0xMjM.c2ln'],
  ['credential', `${'-eyJ'.repeat(1000)}hbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0xMjM.c2ln`],
  ...['-', '_', '.', 'x', 'a.b.', 'eyJ.', '-eyJa.eyJ-'].map(
    (before) => ['credential', `${before}eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0xMjM.c2ln`] as const,
  ),
];

const LEFT: readonly string[] = [
  'jane at clinic dot example',
  '@mention and a@b',
  'DE89 3704 0044 0532 0130 01',
  '4111 1111 1111 1112',
  'order 1234567890123',
  '-----BEGIN CERTIFICATE-----',
  'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
];

for (const [detector, text] of FOUND) {
  test(`${detector} finds "${text.slice(-80)}", wherever it stands`, () => {
    assert.deepEqual(detect(ALL, { word: text }, nothing), [detector]);
    assert.deepEqual(detect(ALL, [[{ pairs: { [text]: 1 } }]], nothing), [detector]);
    assert.deepEqual(detect([], { word: text }, nothing), []);
  });
}

for (const text of LEFT) {
  test(`"${text}" is nothing`, () => assert.deepEqual(detect(ALL, { word: text }, nothing), []));
}

test('exact-match finds a value under any name, and no part of it', () => {
  const forbidden = new Set(recognisable({ note: 'positive since May', short: 'HIV' }));
  assert.deepEqual(detect(ALL, { word: ' positive since May ' }, forbidden), ['exact-match']);
  assert.deepEqual(detect(ALL, { word: 'positive' }, forbidden), []);
  assert.deepEqual(detect(ALL, { word: 'HIV' }, forbidden), []);
});

/** Near misses: each keeps some pattern going for as long as it can, and starts it again wherever that is possible. */
const PIECES: readonly string[] = [
  ...['a', 'a.', '%', 'a@', '@a.b.', 'a@a-', `a@${'b.'.repeat(8)}1`, `a@${'b'.repeat(63)}.`],
  ...['1 ', '1-', '11 ', '1111 ', '1111-', '1111 111111 ', `${'1'.repeat(19)}a`, `${'1 '.repeat(18)}a`],
  ...['DE89 ', 'AA00 ', 'A1', `GB00${' A'.repeat(30)} `],
  ...['eyJ', 'eyJa.', '-eyJ', '_eyJ', '-eyJa.eyJ', '-eyJaaaaaaaa.', '.eyJaaaaaaaa', '.eyJ-', 'a.eyJ-eyJ'],
  ...['-----BEGIN ', '-----BEGIN A', '-AKIA', '-ghp_', '-ghp_a', '-github_pat_', 'xoxb-', 'xoxb-a', '-sk_live_'],
  ...['-AIza', '-glpat-', 'sk-', '-sk-'],
];

// A pattern that tries one character twice takes hours for such a text: the bound tells that from a busy machine.
test('a megabyte of any near miss ends', () => {
  for (const piece of PIECES) {
    const text = piece.repeat(2 ** 20 / piece.length);
    const started = performance.now();
    detect(ALL, { text }, nothing);
    assert.ok(performance.now() - started < 20_000, `${piece} took ${performance.now() - started} ms`);
  }
});

test('a list of any length is looked through', () => {
  const message = { words: [...Array(300_000).fill('a'), 'a@b.de'] };
  assert.deepEqual(detect(['email'], message, nothing), ['email']);
  assert.deepEqual(recognisable(message), ['a@b.de']);
});
