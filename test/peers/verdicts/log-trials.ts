/** Signed notes, tree heads, proofs and tile paths: right ones, odd ones, wrong ones. */

import { consistencyPath, inclusionPath, leafHash, merkleRoot } from '../../../attestation/src/merkle.ts';
import { formatNote, formatNoteKey, type NoteKey, noteKey, signatureLine } from '../../../attestation/src/tlog/note.ts';
import { FakeIdentity } from '../../fakes/certificates.ts';
import { Dice, mutated, type Trial, testCase } from './trial.ts';

/** White space by Unicode or by somebody, and what looks like it. */
const SPACES = [
  ' ',
  '\u0085',
  '\u00a0',
  '\u1680',
  '\u2003',
  '\u2028',
  '\u202f',
  '\u3000',
  '\ufeff',
  '\u200b',
  '\t',
  '\u001f',
];
const NAMES = ['example.com/log', 'log', 'PeterNeumann', 'é', '日本', 'a—b', '_', 'x'.repeat(300)];
const TEXTS = [
  'text\n',
  'a\nb\n',
  '\n',
  'line\n\nafter a blank\n',
  '— looks like a signature AAAA\n',
  'go.sum database tree\n1\n',
];

interface Signer {
  readonly key: NoteKey;
  readonly identity: FakeIdentity;
}

/** `count` notes, and a mutant of every second one. */
export function* noteTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  const identities = Array.from({ length: 4 }, () => new FakeIdentity('log', 'ed25519'));
  for (let number = 0; number < count; number++) {
    const test = oddNote(dice, identities);
    yield { id: `note ${number}`, test };
    if (number % 2 === 0) yield { id: `note ${number}, mutant`, test: mutated(test, ['note', 'keys'], dice) };
  }
}

function oddNote(dice: Dice, identities: readonly FakeIdentity[]): Trial['test'] {
  const name = (): string => {
    const plain = dice.pick(NAMES);
    if (!dice.chance(20)) return plain;
    const at = dice.below(plain.length + 1);
    return plain.slice(0, at) + dice.pick([...SPACES, '+']) + plain.slice(at);
  };
  const signers: Signer[] = identities.map((identity) => ({
    identity,
    key: noteKey(name(), 'ed25519', identity.spki.subarray(-32)),
  }));
  const text = dice.chance(80) ? dice.pick(TEXTS) : `odd ${dice.pick([...SPACES, '\0', '\u007f', '\u0080', '\r'])}\n`;
  const line = (): string => {
    const { key, identity } = dice.pick(signers);
    const signed = dice.chance(92) ? text : `${text}more\n`;
    return signatureLine(key, identity.sign(Buffer.from(signed)));
  };
  const lines = Array.from({ length: dice.chance(96) ? dice.below(4) + 1 : dice.pick([0, 99, 100, 101]) }, line);
  if (dice.chance(15) && lines[0] !== undefined) lines.push(lines[0]);
  if (dice.chance(5)) lines.push(`— ${name()} ${dice.pick(['', 'AAAA', 'AAAAAA==', 'AAAAAAAA', 'not base64'])}\n`);
  const note = formatNote(text, lines);
  const known = signers.filter(() => dice.chance(60));
  const keys = (dice.chance(3) ? [...known, ...known] : known).map(({ key }) => Buffer.from(formatNoteKey(key)));
  return testCase('note', 0, {
    bytes: { note: Buffer.from(dice.chance(3) ? note.slice(0, -1) : note) },
    lists: { keys },
  });
}

/** `count` texts of tree heads. The peer knows one origin alone. */
export function* treeTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  for (let number = 0; number < count; number++) {
    const size = dice.pick([
      '0',
      '1',
      '9007199254740991',
      '9007199254740992',
      '9223372036854775807',
      '01',
      '-1',
      '+1',
      '1e3',
      '0x1',
      '',
      ' 1',
    ]);
    const plain = dice.chance(50) ? String(dice.below(2 ** 40)) : size;
    const root = dice.chance(80) ? dice.bytes(32) : dice.bytes(dice.pick([0, 31, 33, 64]));
    const base64 = root.toString(dice.chance(95) ? 'base64' : 'base64url');
    const hash = dice.chance(92)
      ? base64
      : dice.pick([base64.replace('=', ''), `${base64}=`, ` ${base64}`, base64.replace(/.=$/, 'B=')]);
    const more = dice.chance(70) ? '' : dice.pick(['an extension\n', '\n', 'no newline', 'a\n\nb\n', '\r\n']);
    const text = Buffer.from(`go.sum database tree\n${plain}\n${hash}\n${more}`);
    const test = testCase('tree', 0, { bytes: { text } });
    yield { id: `tree ${number}`, test };
    if (number % 2 === 0) yield { id: `tree ${number}, mutant`, test: mutated(test, ['text'], dice) };
  }
}

/** `count` proofs of each kind: of leaves in a tree, and of trees in a larger one. */
export function* proofTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  const leaves = Array.from({ length: 140 }, (_, index) => leafHash(Uint8Array.of(index)));
  for (let number = 0; number < count; number++) {
    const size = 1 + dice.below(leaves.length);
    const tree = leaves.slice(0, size);
    const root = merkleRoot(tree);
    const index = dice.below(size);
    const old = 1 + dice.below(size);
    const off = (value: number): string => String(dice.chance(90) ? value : value + dice.pick([-1, 1, 2, 2 ** 40]));
    const one = testCase('inclusion', 0, {
      bytes: { root, leaf: leaves[index] ?? new Uint8Array() },
      lists: { path: inclusionPath(tree, index) },
      words: { size: off(size), index: off(index) },
    });
    const other = testCase('consistency', 0, {
      bytes: { root, oldRoot: merkleRoot(leaves.slice(0, old)) },
      lists: { path: consistencyPath(tree, old) },
      words: { size: off(size), old: off(old) },
    });
    yield { id: `inclusion ${number}`, test: one };
    yield { id: `consistency ${number}`, test: other };
    yield { id: `inclusion ${number}, mutant`, test: mutated(one, ['root', 'leaf', 'path'], dice) };
    yield { id: `consistency ${number}, mutant`, test: mutated(other, ['root', 'oldRoot', 'path'], dice) };
  }
}

/** `count` paths of tiles, well formed and nearly so. */
export function* tilePathTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  for (let number = 0; number < count; number++) {
    const level = dice.chance(60) ? String(dice.below(8)) : dice.pick(['data', '63', '64', '01', '00', '-1', '']);
    const group = (): string => String(dice.below(1000)).padStart(3, '0');
    const groups = Array.from({ length: dice.chance(95) ? dice.below(4) : 6 }, () => `x${group()}/`);
    const last = dice.chance(90) ? group() : dice.pick(['1', '0001', 'x001', '', ' 01', '٠٠١']);
    const width = dice.chance(60)
      ? ''
      : `.p/${dice.chance(70) ? 1 + dice.below(255) : dice.pick(['0', '256', '01', '257', '-1', ''])}`;
    const path = `tile/${dice.chance(97) ? 8 : dice.pick(['9', '08'])}/${level}/${groups.join('')}${last}${width}`;
    yield { id: `tile-path ${number}`, test: testCase('tile-path', 0, { words: { path } }) };
  }
}
