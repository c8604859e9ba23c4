/** Only a quorum or mirror of the policy counts, over this log's own tree; away, they stop calls, and over another tree, for good. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Sha256 } from '@enclaim/attestation/digest';
import { merkleRoot } from '@enclaim/attestation/merkle';
import { formatCheckpoint, formatNoteKey, parseNote, verifyNote } from '@enclaim/attestation/tlog';
import { type CosigningKey, cosign } from '../../cli/src/witness/signer.ts';
import { TestLog, witnessKeys } from '../../test/support/witnessed-log.ts';
import { cosigningRules } from '../src/admission/cosigning-rules.ts';
import { Cosignatures, type CosigningEffects } from '../src/log/cosignatures.ts';

const ORIGIN = 'clinic/0123';
const NOW = 1_800_000_000n;
const key = new TestLog(ORIGIN);
const [a, a2] = witnessKeys('example.com/a') as [CosigningKey, CosigningKey];
const [b] = witnessKeys('example.com/b') as [CosigningKey];
const [mirror] = witnessKeys('example.com/mirror') as [CosigningKey];
const [stranger] = witnessKeys('example.com/stranger') as [CosigningKey];
const vkey = (one: CosigningKey): string => formatNoteKey(one.key);
const WITNESSES = [
  `witness A ${vkey(a)}`,
  `witness A2 ${vkey(a2)}`,
  `witness B ${vkey(b)}`,
  'group as any A A2',
  'group both all as B',
  'quorum both',
];

/** A log in memory, and what it was told. */
class Lab implements CosigningEffects {
  readonly told: string[] = [];
  readonly began: { readonly size: number };
  readonly cosignatures: Cosignatures;
  minimum = 0;
  #size: number;
  #listener: (head: { size: number }) => void = () => {};

  constructor(size: number, evidence: { unwitnessed?: number; mirror?: string; witnesses?: string[] } = {}) {
    this.began = { size };
    this.#size = size;
    const rules = cosigningRules({
      ...{ durability: 'before-response', retention: 'unlimited', review: 'none', pipeline: [] },
      witnesses: WITNESSES,
      ...evidence,
    });
    this.cosignatures = new Cosignatures(this, ORIGIN, rules, this);
  }
  get durable(): { size: number } {
    return { size: this.#size };
  }
  onDurable(listener: (head: { size: number }) => void): void {
    this.#listener = listener;
  }
  async rootAt(size: number): Promise<Sha256> {
    if (size < this.minimum) throw new RangeError('below the minimum');
    return merkleRoot(key.leaves(size));
  }
  forget(below: number): void {
    this.told.push(`forget ${below}`);
  }
  grow(by = 1): void {
    this.#size += by;
    this.#listener(this.durable);
  }
  async noted(size: number): Promise<number> {
    this.told.push(`noted ${size}`);
    this.grow();
    return this.#size - 1;
  }
  unwitnessed(isOver: boolean, records: number): void {
    this.told.push(`${isOver ? 'away' : 'back'} ${records}`);
    this.grow();
  }
  forked(size: number): void {
    this.told.push(`forked ${size}`);
  }
}

async function refused(run: () => Promise<unknown>, what?: string): Promise<void> {
  await assert.rejects(run, { name: 'RefusalError', code: 'request' }, what);
}

function cosigned(
  size: number,
  by: readonly CosigningKey[],
  { branch = '', origin = ORIGIN, time = NOW } = {},
): string {
  const text = formatCheckpoint({ origin, size, root: merkleRoot(key.leaves(size, branch)), extensions: [] });
  return key.signed(text) + cosign(by, text, time).join('');
}

describe('cosignatures that are brought', () => {
  test('a quorum counts once, is noted, and its own record asks for no other', async () => {
    const lab = new Lab(10);
    lab.grow(5);
    assert.deepEqual(await lab.cosignatures.add(cosigned(15, [a, b])), { cosigned: 15, mirrored: 0 });
    await lab.cosignatures.add(cosigned(15, [a, b]));
    await lab.cosignatures.add(cosigned(12, [a, b]));
    await lab.cosignatures.add(cosigned(16, [a2, b]));
    assert.deepEqual(lab.told, ['noted 15'], 'entry 15 is the record of the quorum itself');
    lab.grow();
    await lab.cosignatures.add(cosigned(17, [a, a2, b]));
    assert.deepEqual(lab.told, ['noted 15', 'noted 17']);
    assert.deepEqual(lab.cosignatures.sizes, { cosigned: 17, mirrored: 0 });
  });

  const refusals: readonly (readonly [string, () => string])[] = [
    ['one of two', () => cosigned(15, [a, a2])],
    ['nobody', () => cosigned(15, [])],
    ['strangers', () => cosigned(15, [stranger])],
    ['a mirror that the policy does not name', () => cosigned(15, [mirror])],
    ['the second 0', () => cosigned(15, [a, b], { time: 0n })],
    ['another log', () => cosigned(15, [a, b], { origin: 'clinic/4567' })],
    ['a bad signature of a known key', () => cosigned(15, [a, { ...b, privateKey: a.privateKey }])],
    ['signatures over another size', () => cosigned(15, [a, b]).replace('\n15\n', '\n14\n')],
    ['no note', () => 'hello'],
    [
      '101 signatures',
      () =>
        cosigned(15, []) + Array.from({ length: 100 }, (_, i) => cosign([stranger], 'x', BigInt(i)).join('')).join(''),
    ],
    ['a note above its limit', () => 'a'.repeat(128 * 1024 + 1)],
  ];
  test('nothing else does, and nothing of it is noted', async () => {
    const lab = new Lab(10);
    lab.grow(5);
    for (const [name, note] of refusals) await refused(() => lab.cosignatures.add(note()), name);
    assert.deepEqual([lab.told, lab.cosignatures.sizes.cosigned], [[], 10]);
  });

  test('17 signatures and more are judged', async () => {
    const lab = new Lab(10);
    const strangers = Array.from({ length: 10 }, (_, i) => witnessKeys(`example.com/${i}`)).flat();
    const note = cosigned(10, [...strangers, a, a2, b]);
    assert.equal(parseNote(note).signatures.length, 24);
    assert.equal(
      (
        await verifyNote(
          note,
          strangers.map((one) => one.key),
        )
      ).verified.length,
      20,
    );
    lab.grow(5);
    assert.equal((await lab.cosignatures.add(cosigned(15, [...strangers, a, a2, b]))).cosigned, 15);
  });

  test('a quorum over another tree, or over more than there is, is a fork; fewer cosigners are not believed so', async () => {
    for (const note of [
      cosigned(15, [a, b], { branch: 'x' }),
      cosigned(99, [a, b]),
      cosigned(3, [a, b], { branch: 'x' }),
    ]) {
      const lab = new Lab(10, { mirror: vkey(mirror) });
      lab.grow(5);
      await refused(() => lab.cosignatures.add(note));
      assert.match(lab.told.join(), /^forked (15|99|3)$/);
    }
    const lab = new Lab(10, { mirror: vkey(mirror) });
    for (const by of [[a], [a, a2], [mirror], []]) {
      await refused(() => lab.cosignatures.add(cosigned(15, by, { branch: 'x' })));
    }
    assert.deepEqual(lab.told, []);
  });

  test('a mirror lets the log forget, witnesses do not', async () => {
    const lab = new Lab(10, { mirror: vkey(mirror) });
    lab.grow(5);
    await lab.cosignatures.add(cosigned(15, [a, b]));
    assert.deepEqual(lab.told, ['noted 15']);
    assert.deepEqual(await lab.cosignatures.add(cosigned(14, [mirror])), { cosigned: 15, mirrored: 14 });
    await lab.cosignatures.add(cosigned(13, [mirror]));
    assert.deepEqual(lab.told, ['noted 15', 'forget 14']);
    lab.minimum = 14;
    await refused(() => lab.cosignatures.add(cosigned(13, [a, b])), 'no longer held');
  });

  test('one is judged at a time', async () => {
    const lab = new Lab(10);
    lab.grow(5);
    const [first, second] = await Promise.allSettled(
      [15, 15].map((size) => lab.cosignatures.add(cosigned(size, [a, b]))),
    );
    assert.equal(first?.status, 'fulfilled');
    assert.equal((second as PromiseRejectedResult).reason.code, 'budget');
  });
});

describe('witnesses that are away', () => {
  test('calls stop beyond the number that the policy allows, and go on with the next quorum', async () => {
    const lab = new Lab(10, { unwitnessed: 3 });
    lab.grow(3);
    assert.deepEqual(lab.told, []);
    lab.grow();
    lab.grow();
    assert.deepEqual(lab.told, ['away 4']);
    await lab.cosignatures.add(cosigned(11, [a, b]));
    assert.deepEqual(lab.told, ['away 4', 'noted 11'], 'five are left, which is still too many');
    await lab.cosignatures.add(cosigned(16, [a, b]));
    assert.deepEqual(lab.told.slice(2), ['back 1', 'noted 16']);
  });

  test('without a number they stop nothing', () => {
    const lab = new Lab(0);
    lab.grow(1_000_000);
    assert.deepEqual(lab.told, []);
  });
});
