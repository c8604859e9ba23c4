/**
 * The transcoder is equal to the reference: on messages and JSON of every kind at random, and on both
 * with changes. `ENCLAIM_TEST_LONG=1 node --test runtime/test/transcoder/equal.property.test.ts` does
 * the whole.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count } from '../../../test/support/long.ts';
import { seed } from '../../../test/support/properties.ts';
import { Transcoders } from '../../src/message/transcoder/transcoders.ts';
import type { Json } from '../../src/worker/json-text.ts';
import { Chance } from './chance.ts';
import { Beside, Difference, type Outcome } from './equal.ts';
import { mutated, wildBytes } from './wild-bytes.ts';
import { wildDescriptors } from './wild-descriptors.ts';
import { mutatedText, wildJson } from './wild-json.ts';
import { wildTypes } from './wild-types.ts';

/** Messages with as many mutants each, and as many texts of JSON with theirs. */
const ROUNDS = count(10_000, 1_400_000, 1000);
const MUTANTS = 4;

const descriptors = await wildDescriptors();
const { registry } = descriptors;
const wild = wildTypes(descriptors);
const transcoders = new Transcoders(wild, registry);
const types = wild.map((type) => new Beside(type, registry, transcoders));
// **Cost**: most of a refusal is the stack of its error.
Error.stackTraceLimit = 0;

type Tally = Record<Outcome, number>;
const none = (): Tally => ({ taken: 0, left: 0, refused: 0 });
const sum = ({ taken, left, refused }: Tally): number => taken + left + refused;
const told = (tally: Tally): string =>
  `${sum(tally)} (${tally.taken} taken, ${tally.left} left, ${tally.refused} refused)`;

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

test('messages are read as the reference reads them', (t) => {
  const [whole, changed] = [none(), none()];
  for (let round = 0; round < ROUNDS; round++) {
    const chance = new Chance(seed + round);
    const beside = chance.of(types);
    const bytes = wildBytes(beside.type, chance, { odd: chance.of([20, 200, 5000]), registry });
    read(beside, bytes, whole, round, chance);
    for (let i = 0; i < MUTANTS; i++) read(beside, mutated(bytes, chance), changed, round, chance);
  }
  t.diagnostic(`messages ${told(whole)}; changed ${told(changed)}; seed ${seed}`);
  // Taken and refused ones in plenty: a transcoder that leaves all, or a generator that makes
  // nothing else, would find no difference.
  assert.ok(whole.taken > 0.4 * sum(whole), told(whole));
  assert.ok(changed.taken > 0.05 * sum(changed) && changed.refused > 0.2 * sum(changed), told(changed));
});

test('JSON is written as the reference writes it', (t) => {
  const [whole, changed] = [none(), none()];
  for (let round = 0; round < ROUNDS; round++) {
    const chance = new Chance(seed + round);
    const beside = chance.of(types);
    const text = wildJson(beside.type, chance, chance.of([20, 200, 5000]));
    write(beside, text, whole, round, chance);
    for (let i = 0; i < MUTANTS; i++) write(beside, mutatedText(text, chance), changed, round, chance);
  }
  t.diagnostic(`texts ${told(whole)}; changed ${told(changed)}; seed ${seed}`);
  assert.ok(whole.taken > 0.4 * sum(whole), told(whole));
  assert.ok(changed.taken > 0.05 * sum(changed) && changed.refused > 0.1 * sum(changed), told(changed));
});

function read(beside: Beside, bytes: Uint8Array, tally: Tally, round: number, chance: Chance): void {
  tally[shown(beside, round, Buffer.from(bytes).toString('hex'), () => beside.read(bytes, chance.once(2)))]++;
}

function write(beside: Beside, text: string, tally: Tally, round: number, chance: Chance): void {
  const json = parsed(text);
  if (json === undefined) return;
  tally[shown(beside, round, text, () => beside.write(json, chance.once(2)))]++;
}

function shown(beside: Beside, round: number, message: string, compare: () => Outcome): Outcome {
  try {
    return compare();
  } catch (error) {
    if (!(error instanceof Difference)) throw error;
    throw new Error(`${beside.type.typeName} ${message}, seed ${seed}, round ${round}: ${error.message}`, {
      cause: error,
    });
  }
}
