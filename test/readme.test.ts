/** The README's policy is one, and promises what the README's client demands of it. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { accept, parseDemand, parsePolicy } from '@enclaim/policy-schema';

const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');

/** Blocks of one language, in their order. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, text = '']) => text);
}

test('its policy promises what its client demands', () => {
  const [policy = assert.fail('no policy')] = blocks('yaml');
  const client = blocks('ts').find((text) => text.includes('connect(')) ?? assert.fail('no client');
  const demands = [...client.matchAll(/'((?:claim|retention)[^']*)'/g)].map(([, text = '']) => parseDemand(text));
  assert.ok(demands.length >= 1, `${demands.length} demands`);
  for (const { ok, demand, found } of accept(parsePolicy(policy), demands)) assert.ok(ok, `${demand.text}: ${found}`);
});

test('its pieces are as short as it says', () => {
  const [policy = '', handler = ''] = [blocks('yaml')[0], blocks('ts').find((text) => text.includes('Handlers')) ?? ''];
  for (const text of [policy, handler]) {
    const lines = text.split('\n').filter(Boolean).length;
    assert.ok(lines >= 8 && lines <= 13, `${lines} lines`);
  }
});
