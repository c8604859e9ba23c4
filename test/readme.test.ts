/** The README's policy is one, and promises what the README's client demands of it; the first app needs no program that Debian lacks. */

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

/** Programs of packages that every Debian has (`Essential: yes`), and what bash does itself. */
const EVERYWHERE: readonly string[] = ['bash', 'cat', 'eval', 'sed'];

/** Programs that a text for bash calls: the first word of each command, also in `$(…)`. */
function programsIn(text: string): string[] {
  const lines = text.replaceAll('\\\n', ' ').replaceAll(/'[^']*'/g, "''");
  return [...lines.matchAll(/(?:^|[|;&]\s*|\$\()(\w[\w-]*)/gm)].map(([, program = '']) => program);
}

test('the first app is made by enclaim and by programs that every Debian has', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/start/first-app.md'), 'utf8');
  const commands = [...page.matchAll(/^```sh[^\n]*\n(.*?)^```$/gms)].map(([, text = '']) => text);
  const programs = new Set(commands.flatMap(programsIn));
  assert.ok(programs.has('enclaim') && programs.has('sed'), [...programs].join());
  assert.deepEqual(
    [...programs].filter((program) => program !== 'enclaim' && !EVERYWHERE.includes(program)),
    [],
  );
  assert.deepEqual(programsIn('cat a | jq . > "$(curl -s x)"\nFOO'), ['cat', 'jq', 'curl', 'FOO']);
});
