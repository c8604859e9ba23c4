/** A shell completes every command and option that help shows, at its place, and nothing else. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Command } from 'commander';
import { completionOf } from '../src/completion.ts';
import { makeProgram } from '../src/program.ts';

interface Expected {
  readonly at: string;
  readonly commands: readonly string[];
  readonly options: readonly string[];
}

/** What can follow each command, by the tree itself; commander adds help everywhere. */
function expectedOf(command: Command, at: string): Expected[] {
  const commands = command.commands.map((each) => each.name());
  const options = command.options.flatMap(({ long, short }) => [long, short]).filter((name) => name != null);
  return [
    {
      at,
      commands: commands.length > 0 ? [...new Set([...commands, 'help'])] : [],
      options: [...options, '--help', '-h'],
    },
    ...command.commands.flatMap((each) => expectedOf(each, `${at} ${each.name()}`)),
  ];
}

const program = await makeProgram();
const places = expectedOf(program, 'enclaim');
const zsh = completionOf(program, 'zsh');
const fish = completionOf(program, 'fish');

/** Runs the script in bash for words of which the last is being typed; a line of answers for each. */
function completed(cases: readonly (readonly string[])[]): string[][] {
  const asks = cases.map(
    (words) => `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1}
COMPREPLY=()
_enclaim
echo "\${COMPREPLY[*]}"`,
  );
  const script = [completionOf(program, 'bash'), ...asks].join('\n');
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-u'], { input: script, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split(' ').filter((word) => word !== ''));
}

test('bash completes what each command takes', () => {
  const found = completed(places.map(({ at }) => [...at.split(' '), '']));
  for (const [index, { at, commands, options }] of places.entries()) {
    const values = at === 'enclaim completion' ? ['bash', 'zsh', 'fish'] : [];
    assert.deepEqual(found[index]?.toSorted(), [...values, ...commands, ...options].toSorted(), at);
  }
});

test('bash completes by what is typed, values of an option, and nothing where a file is wanted', () => {
  assert.deepEqual(
    completed([
      ['enclaim', 'policy', 'ex'],
      ['enclaim', 'policy', '--no-such', 'ex'],
      ['enclaim', 'diff', '--fail-on', 'w'],
      ['enclaim', 'references', '--policy', ''],
      ['enclaim', 'completion', 'f'],
      ['enclaim', 'no-such', 'key', 'sho'],
    ]),
    [['explain'], ['explain'], ['weaker'], [], ['fish'], ['show']],
  );
});

for (const { at, commands, options } of places) {
  test(`zsh and fish have all of ${at}`, () => {
    const line = zsh.split('\n').find((each) => each.startsWith(`    ('${at}') commands=`)) ?? '';
    for (const name of [...commands, ...options]) assert.ok(line.includes(`'${name}:`), `zsh lacks ${name}`);
    const lines = fish.split('\n').filter((each) => each.startsWith(`complete -c enclaim -n '__enclaim_at ${at}' `));
    for (const name of commands)
      assert.ok(
        lines.some((each) => each.includes(` -a '${name}' -d '`)),
        `fish lacks ${name}`,
      );
    for (const name of options) {
      const word = name.startsWith('--') ? ` -l ${name.slice(2)} ` : ` -s ${name.slice(1)} `;
      assert.ok(
        lines.some((each) => each.includes(word)),
        `fish lacks ${name}`,
      );
    }
  });
}

test('texts of help are only texts in the scripts, and a name that is more than a word is refused', () => {
  const program = new Command('enclaim');
  program.command('one').description("it's $(touch no) `touch no` \\");
  for (const shell of ['zsh', 'fish'] as const) {
    const script = completionOf(program, shell);
    assert.ok(
      script.includes(shell === 'zsh' ? "it'\\''s $(touch no)" : "it\\'s $(touch no) `touch no` \\\\'"),
      script,
    );
  }
  program.command('$(touch no)');
  for (const shell of ['bash', 'zsh', 'fish'] as const)
    assert.throws(() => completionOf(program, shell), /is no plain word/);
});
