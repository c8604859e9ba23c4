/** Cosignatures count only for a policy's own witnesses, once each, and only if they reach its quorum. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { refused, undecodable } from '../../test/support/refused.ts';
import { utf8 } from '../src/bytes.ts';
import { DecodeError } from '../src/errors.ts';
import {
  type Checkpoint,
  cosignedMessage,
  cosigners,
  formatCheckpoint,
  formatNote,
  formatNoteKey,
  type NoteAlgorithm,
  type NoteKey,
  noteKey,
  parseNoteKey,
  parseTlogPolicy,
  parseWitnessLines,
  reachesQuorum,
  signatureLine,
  verifyNote,
} from '../src/tlog/index.ts';

interface Cosigner {
  readonly key: NoteKey;
  readonly privateKey: KeyObject;
}

const checkpoint: Checkpoint = { origin: 'example.com/log', size: 7, root: new Uint8Array(32).fill(9), extensions: [] };
const text = formatCheckpoint(checkpoint);
const NOW = 1_800_000_000n;

function cosigner(name: string, algorithm: NoteAlgorithm): Cosigner {
  const pair = algorithm === 'ml-dsa-44' ? generateKeyPairSync('ml-dsa-44') : generateKeyPairSync('ed25519');
  const { publicKey, privateKey } = pair;
  const length = algorithm === 'ml-dsa-44' ? 1312 : 32;
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-length);
  return { key: noteKey(name, algorithm, Uint8Array.from(raw)), privateKey };
}

const log = cosigner('example.com/log', 'ed25519');
const classic = cosigner('example.com/w', 'cosignature/v1');
const quantum = cosigner('example.com/q', 'ml-dsa-44');
const line = ({ key, privateKey }: Cosigner, time = NOW, body = text): string =>
  signatureLine(key, sign(null, cosignedMessage(key, body, time), privateKey), time);
const signed = (body: string): string =>
  formatNote(body, [signatureLine(log.key, sign(null, utf8(body), log.privateKey))]);

describe('cosignatures by ML-DSA-44', () => {
  test('keys go both ways, and have their length', () => {
    assert.deepEqual(parseNoteKey(formatNoteKey(quantum.key)), quantum.key);
    const short = noteKey('q', 'ml-dsa-44', quantum.key.publicKey.subarray(1));
    undecodable('truncated', () => parseNoteKey(formatNoteKey(short)));
    const long = noteKey('q', 'ml-dsa-44', new Uint8Array(1313));
    undecodable('trailing', () => parseNoteKey(formatNoteKey(long)));
  });

  test('verify beside Ed25519, tell their time, and hold for no other name, time, origin, size or root', async () => {
    const note = signed(text) + line(classic) + line(quantum);
    const { verified } = await verifyNote(note, [log.key, classic.key, quantum.key]);
    assert.deepEqual(
      verified.map(({ timestamp }) => timestamp),
      [undefined, NOW, NOW],
    );
    const renamed = noteKey('example.com/other', 'ml-dsa-44', quantum.key.publicKey);
    const signature = sign(null, cosignedMessage(quantum.key, text, NOW), quantum.privateKey);
    const wrong = [
      [text, signatureLine(renamed, signature, NOW), renamed],
      [text, signatureLine(quantum.key, signature, NOW + 1n), quantum.key],
      [formatCheckpoint({ ...checkpoint, origin: 'example.com/lag' }), line(quantum), quantum.key],
      [formatCheckpoint({ ...checkpoint, size: 8 }), line(quantum), quantum.key],
      [formatCheckpoint({ ...checkpoint, root: new Uint8Array(32) }), line(quantum), quantum.key],
    ] as const;
    for (const [body, cosigned, key] of wrong)
      await refused('signature', () => verifyNote(signed(body) + cosigned, [key]));
    await refused('signature', () => verifyNote(signed(text) + line(quantum, 2n ** 63n), [quantum.key]));
  });

  test('say nothing about extension lines, which another signature has to cover', async () => {
    const extended = formatCheckpoint({ ...checkpoint, extensions: ['anything'] });
    const note = signed(extended) + line(quantum, NOW, extended);
    await refused('chain', () => verifyNote(note, [quantum.key]));
    assert.equal((await verifyNote(note, [log.key, quantum.key])).verified.length, 2);
  });

  test('are for checkpoints only, with names of at most 255 bytes', async () => {
    const other = 'no checkpoint\n';
    const note = formatNote(other, [line(quantum)]);
    await assert.rejects(() => verifyNote(note, [quantum.key]), DecodeError);
    const long = noteKey('é'.repeat(128), 'ml-dsa-44', quantum.key.publicKey);
    undecodable('range', () => cosignedMessage(long, text, NOW));
  });
});

describe('signatures of a note', () => {
  const many = Array.from({ length: 17 }, (_, i) => cosigner(`example.com/${i}`, 'cosignature/v1'));

  test('sixteen and more are accepted, unknown ones ignored even where name or id is known', async () => {
    const impostor = cosigner(classic.key.name, 'cosignature/v1');
    const sameId = { ...impostor, key: { ...impostor.key, name: 'example.com/else', id: classic.key.id } };
    const note = signed(text) + many.map((one) => line(one)).join('') + line(impostor) + line(sameId) + line(classic);
    const keys = [classic.key, ...many.map(({ key }) => key)];
    const { verified, unverified } = await verifyNote(note, keys);
    assert.deepEqual([verified.length, unverified.length], [18, 3]);
  });

  test('one bad one of a known key refuses the note, whatever else verifies', async () => {
    const [first, ...rest] = many as [Cosigner, ...Cosigner[]];
    const bad = line({ key: first.key, privateKey: classic.privateKey });
    const note = signed(text) + rest.map((one) => line(one)).join('') + bad;
    await refused('signature', () => verifyNote(note, [log.key, ...many.map(({ key }) => key)]));
    assert.equal((await verifyNote(note, [log.key])).verified.length, 1, 'unless the key is not known');
  });

  test('more than a hundred are none', async () => {
    const [one] = many as [Cosigner];
    const note = signed(text) + Array.from({ length: 100 }, (_, i) => line(one, NOW + BigInt(i))).join('');
    await assert.rejects(() => verifyNote(note, [log.key]), DecodeError);
  });
});

const [a, b, c, d, e, f] = Array.from({ length: 6 }, (_, i) =>
  cosigner(`example.com/${'abcdef'[i]}`, i % 3 === 2 ? 'ml-dsa-44' : 'cosignature/v1'),
) as [Cosigner, Cosigner, Cosigner, Cosigner, Cosigner, Cosigner];
const vkey = ({ key }: Cosigner): string => formatNoteKey(key);
const WITNESSES = [a, b, c, d, e, f].map((one, i) => `witness W${'abcdef'[i]} ${vkey(one)}`);
const NESTED = [...WITNESSES, 'group X 2 Wa Wb Wc', 'group Y any Wd We', 'group both all X Y', 'quorum both'];
const parse = (lines: readonly string[]): ReturnType<typeof parseTlogPolicy> =>
  parseTlogPolicy(utf8(`${lines.join('\n')}\n`));

describe('policies', () => {
  test("the quorum is counted through groups, and only the policy's own cosigners count", async () => {
    const policy = parse(NESTED);
    const keys = [...policy.witnesses.values()].map(({ key }) => key);
    const reached = async (...signers: Cosigner[]): Promise<boolean> => {
      const { verified } = await verifyNote(signed(text) + signers.map((one) => line(one)).join(''), [
        log.key,
        ...keys,
      ]);
      return reachesQuorum(policy, verified);
    };
    for (const good of [
      [a, b, d],
      [b, c, e],
      [a, b, c, d, e, f],
    ])
      assert.equal(await reached(...good), true);
    const impostor = { key: d.key, privateKey: a.privateKey };
    for (const poor of [[], [a], [a, b], [d, e], [a, d, e, f], [a, b, f], [classic, quantum, d]])
      assert.equal(await reached(...poor), false);
    await refused('signature', () => reached(a, b, impostor));
  });

  test('a cosignature of the second 0 does not count', async () => {
    const policy = parse([...WITNESSES, 'quorum Wc']);
    const { verified } = await verifyNote(signed(text) + line(c, 0n), [c.key]);
    assert.deepEqual(
      [verified.length, cosigners(policy, verified).size, reachesQuorum(policy, verified)],
      [1, 0, false],
    );
  });

  test('monotone: a signer more never takes a quorum away', () => {
    const policy = parse(NESTED);
    const all = [a, b, c, d, e, f].map(({ key }) => ({ key, timestamp: NOW }));
    fc.assert(
      fc.property(fc.subarray(all), fc.subarray(all), (some, more) => {
        if (reachesQuorum(policy, some)) assert.ok(reachesQuorum(policy, [...some, ...more]));
      }),
    );
  });

  test('lines are divided by spaces and tabs, and comments and URLs may stand there', () => {
    const policy = parse([
      '# logs',
      `\tlog  ${vkey(log)}\t https://log.example `,
      '  \t # a witness',
      ...WITNESSES.map((one) => ` \t${one}\thttps://w.example/prefix`),
      'group\t1of2\t1   Wa Wb',
      'quorum 1of2',
    ]);
    assert.deepEqual(policy.logs, [{ key: log.key, url: 'https://log.example' }]);
    assert.equal(policy.witnesses.get('Wa')?.url, 'https://w.example/prefix');
    assert.equal(reachesQuorum(parse(['quorum none']), []), true);
  });

  test('names are octets: no white space but space and tab, and no two forms of a letter are one', () => {
    const kelvin = parse([`witness K ${vkey(a)}`, `witness \u212a ${vkey(b)}`, 'quorum K']);
    assert.equal(kelvin.witnesses.size, 2);
    assert.equal(parse([`witness x\u00a0y ${vkey(a)}`, 'quorum x\u00a0y']).witnesses.size, 1);
    const raw = Uint8Array.of(...utf8('witness '), 0xff, 0x85, ...utf8(` ${vkey(a)}\nquorum `), 0xff, 0x85, 10);
    assert.equal(parseTlogPolicy(raw).quorum, '\u00ff\u0085');
  });

  const refusals: readonly (readonly [string, readonly string[]])[] = [
    ['no quorum', WITNESSES],
    ['two quorums', [...WITNESSES, 'quorum Wa', 'quorum Wb']],
    ['quorum of a name that comes later', ['quorum Wa', ...WITNESSES]],
    ['unknown quorum', [...WITNESSES, 'quorum Wz']],
    ['unknown member', [...WITNESSES, 'group X all Wa Wz', 'quorum X']],
    ['none as a member', [...WITNESSES, 'group X all Wa none', 'quorum X']],
    ['none as a name', [`witness none ${vkey(a)}`, 'quorum none']],
    ['a group in itself', [...WITNESSES, 'group X all Wa X', 'quorum X']],
    ['a circle', [...WITNESSES, 'group X all Wa Y', 'group Y all Wb X', 'quorum X']],
    ['a member twice in a group', [...WITNESSES, 'group X 2 Wa Wa', 'quorum X']],
    ['a member of two groups', [...WITNESSES, 'group X all Wa Wb', 'group Y all Wa Wc', 'group Z all X Y', 'quorum Z']],
    ['a name twice', [...WITNESSES, `witness Wa ${vkey(classic)}`, 'quorum Wa']],
    ['a group under the name of a witness', [...WITNESSES, 'group Wa all Wb', 'quorum Wa']],
    [
      'one key under two names',
      [
        `witness x ${vkey(a)}`,
        `witness y ${formatNoteKey({ ...noteKey('y', 'cosignature/v1', a.key.publicKey) })}`,
        'quorum x',
      ],
    ],
    [
      'one log twice',
      [`log ${vkey(log)}`, `log ${formatNoteKey(noteKey('other', 'ed25519', log.key.publicKey))}`, 'quorum none'],
    ],
    ['k above n', [...WITNESSES, 'group X 3 Wa Wb', 'quorum X']],
    ['k of 0', [...WITNESSES, 'group X 0 Wa Wb', 'quorum X']],
    ['k with a leading zero', [...WITNESSES, 'group X 01 Wa Wb', 'quorum X']],
    ['k as a float', [...WITNESSES, 'group X 1.0 Wa Wb', 'quorum X']],
    ['a group without members', [...WITNESSES, 'group X all', 'quorum Wa']],
    ['a third item of a log', [`log ${vkey(log)} url more`, 'quorum none']],
    ['a witness without a key', ['witness Wa', 'quorum none']],
    ['a log key as a witness', [`witness Wa ${vkey(log)}`, 'quorum Wa']],
    ['a witness key as a log', [`log ${vkey(classic)}`, 'quorum none']],
    ['another kind of line', [...WITNESSES, 'quora Wa']],
    ['a carriage return', [...WITNESSES, 'quorum Wa\r']],
    ['a DEL', [...WITNESSES, 'quorum Wa\u007f']],
    ['a no-break space as a divider', [...WITNESSES, 'quorum\u00a0Wa']],
    [
      '65 witnesses',
      [
        ...Array.from(
          { length: 65 },
          (_, i) => `witness w${i} ${formatNoteKey(noteKey('w', 'cosignature/v1', new Uint8Array(32).fill(i)))}`,
        ),
        'quorum w0',
      ],
    ],
    ['a text above its limit', ['#'.repeat(1 << 18), 'quorum none']],
  ];
  for (const [name, lines] of refusals) {
    test(`refuses ${name}`, () => assert.throws(() => parse(lines), DecodeError));
  }

  test('as lines of a policy they stand in any order, and circles and repetitions are refused all the same', () => {
    const any = parseWitnessLines(NESTED.toSorted());
    const all = [a, b, c, d, e, f].map(({ key }) => ({ key, timestamp: NOW }));
    fc.assert(fc.property(fc.subarray(all), (some) => reachesQuorum(any, some) === reachesQuorum(parse(NESTED), some)));
    fc.assert(
      fc.property(
        fc.shuffledSubarray(NESTED, { minLength: NESTED.length }),
        (lines) => parseWitnessLines(lines).groups.size === 3,
      ),
    );
    for (const bad of [
      [...WITNESSES, 'group X all Wa Y', 'group Y all Wb X', 'quorum X'],
      [...WITNESSES, 'group X all Wa X', 'quorum X'],
      [...WITNESSES, 'group X all Wa Wz', 'quorum X'],
      [...WITNESSES],
      [...NESTED, `log ${vkey(log)}`],
      [vkey(a), 'quorum none'],
      ['# nothing'],
    ]) {
      assert.throws(() => parseWitnessLines(bad), DecodeError, bad.join('\n'));
    }
  });

  test('bare keys are witnesses that must all cosign', () => {
    const policy = parseWitnessLines([vkey(a), vkey(b)]);
    assert.equal(reachesQuorum(policy, [{ key: a.key, timestamp: NOW }]), false);
    assert.equal(
      reachesQuorum(
        policy,
        [a, b].map(({ key }) => ({ key, timestamp: NOW })),
      ),
      true,
    );
  });

  test('is total', () => {
    const good = NESTED.join('\n');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), fc.nat(good.length), (noise, at) => {
        try {
          parseTlogPolicy(Uint8Array.of(...utf8(good.slice(0, at)), ...noise, ...utf8(good.slice(at))));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });
});
