/** A policy has one byte string and one digest, and every other encoding is refused. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { canonicalJson, digestOfCanonical, parseJson } from '../src/admission.ts';
import { canonicalPolicy, decodePolicy, PolicyError, parsePolicy, policyDigest } from '../src/index.ts';
import { BASE } from './base-policy.ts';

const policy = parsePolicy(BASE);
const canonical = new TextDecoder().decode(canonicalPolicy(policy));

const decode = (text: string): unknown => decodePolicy(new TextEncoder().encode(text));
const codeOf = (text: string): string => {
  try {
    decode(text);
    return 'accepted';
  } catch (error) {
    assert.ok(error instanceof PolicyError);
    return error.code;
  }
};

test('canonical bytes decode to the policy, and their digest is SHA-384', () => {
  assert.deepEqual(decode(canonical), policy);
  const digest = `sha384:${createHash('sha384').update(canonical).digest('hex')}`;
  assert.deepEqual([policyDigest(policy), digestOfCanonical(canonicalPolicy(policy))], [digest, digest]);
});

/** Other encodings of the same policy: what one reader takes for it, another could take for something else. */
const OTHERS: readonly (readonly [id: string, from: string, to: string, code?: string])[] = [
  ['a space', '"enclaim":1', '"enclaim": 1'],
  ['a newline at the end', '}}', '}}\n'],
  ['a byte order mark', '{"access"', '\ufeff{"access"', 'syntax'],
  ['keys in another order', '{"access":', '{"system":SYSTEM,"access":'],
  ['a set in another order', '["eu-central","eu-west"]', '["eu-west","eu-central"]'],
  ['a member twice', '["eu-central","eu-west"]', '["eu-central","eu-west","eu-west"]', 'duplicate'],
  ['an entry twice', '"enclaim":1', '"enclaim":1,"enclaim":1', 'duplicate'],
  ['a default left out', '"durability":"before-response",', ''],
  ['an escape that is not needed', '"clinic"', '"\\u0063linic"'],
  ['an escaped slash', 'https://mail', 'https:\\/\\/mail'],
  ['a number with an exponent', '"version":3', '"version":3e0'],
  ['a number with a fraction', '"version":3', '"version":3.0'],
  ['a list of objects in another order', '"id":"who"', '"id":"aaa"'],
];

for (const [id, from, to, code = 'canonical'] of OTHERS) {
  test(`another encoding is refused: ${id}`, () => {
    const system = canonical.slice(canonical.indexOf('"system":') + 9, canonical.lastIndexOf('}}') + 1);
    const edited = id === 'keys in another order' ? canonical.replace(`,"system":${system}`, '') : canonical;
    assert.ok(edited.includes(from), from);
    assert.equal(codeOf(edited.replace(from, to.replace('SYSTEM', system))), code);
  });
}

test('a policy that does not hold together is refused in canonical form, too', () => {
  assert.equal(codeOf(canonical.replace('"holds":["personal.health"]', '"holds":["weather"]')), 'reference');
  assert.equal(codeOf(canonical.replace('"retention":"P30D"', '"retention":"unlimited"')), 'unbacked');
  assert.equal(codeOf(canonical.replace('"enclaim":1', '"enclaim":2')), 'value');
  assert.equal(codeOf(canonical.replace('"enclaim":1', '"enclaim":1,"extra":1')), 'unknown');
});

test('what is read cannot be changed', () => {
  assert.ok(Object.isFrozen(policy) && Object.isFrozen(policy.services['c.v1.Intake']?.Read?.accepts));
});

test('JSON is read strictly', () => {
  const refused = (text: string, code: string): void => {
    assert.throws(
      () => parseJson(new TextEncoder().encode(text)),
      (error) => error instanceof PolicyError && error.code === code,
      text,
    );
  };
  for (const text of ['', '01', '+1', '.5', '1.', 'NaN', "{'a':1}", '[1,]', '{"a":1,}', '1 2', '"\t"', '\ufeff1'])
    refused(text, 'syntax');
  refused('1e400', 'value');
  refused('{"a":1,"a":1}', 'duplicate');
  refused('{"a":{"b":1,"\\u0062":2}}', 'duplicate');
  refused('{"__proto__":1,"__proto__":2}', 'duplicate');
  refused('['.repeat(33) + ']'.repeat(33), 'depth');
  assert.deepEqual(parseJson(new TextEncoder().encode('{"a:{":"\\":","b":[":",{"c":"}"}]}')), {
    'a:{': '":',
    b: [':', { c: '}' }],
  });
});

test('what has no canonical form is refused', () => {
  for (const value of ['\ud800', { a: ['\udc00\ud800'] }, Number.NaN, undefined]) {
    assert.throws(() => canonicalJson(value), PolicyError);
  }
});
