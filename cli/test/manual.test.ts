/** What the manual says of a command is so: its example is a call of it, its JSON has that shape, and its page is good roff. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { needs } from '../../test/support/machine-needs.ts';
import { NOTES } from '../src/manual/notes.ts';
import { leavesOf, pagesOf, wordsOf } from '../src/manual/pages.ts';
import { manualPage } from '../src/manual/roff.ts';
import { mismatch, type Shape } from '../src/manual/shape.ts';
import { makeProgram } from '../src/program.ts';
import { jsonOf } from './json-of.ts';

const clinic = join(import.meta.dirname, '../../examples/clinic');

test('a call that names a command has that alone, with the options that it has in the whole tree', async () => {
  const whole = await makeProgram();
  for (const command of whole.commands) {
    const { commands } = await makeProgram([command.name(), '--help']);
    // These two read the tree.
    const names = ['help', 'completion'].includes(command.name())
      ? whole.commands.map((one) => one.name())
      : [command.name()];
    assert.deepEqual(
      commands.map((one) => one.name()),
      names,
    );
    const own = commands.find((one) => one.name() === command.name());
    assert.equal(own?.helpInformation(), command.helpInformation());
  }
  for (const first of ['', '--version', 'toString', 'constructor', 'nothing'])
    assert.equal((await makeProgram([first])).commands.length, whole.commands.length, first);
});

test('each command has a note, and each note is of a command', async () => {
  const names = leavesOf(await makeProgram()).map(wordsOf);
  assert.deepEqual(Object.keys(NOTES).sort(), names.sort());
});

for (const [name, { example, json, jsonPage, always }] of Object.entries(NOTES)) {
  test(`the example of ${name} is a call of it`, async () => {
    const program = await makeProgram();
    const called: string[] = [];
    for (const command of leavesOf(program)) command.action(() => void called.push(wordsOf(command)));
    await program.parseAsync(wordsIn(example), { from: 'user' });
    assert.deepEqual(called, [name]);
  });

  test(`${name} has --json if the manual says what that prints`, async () => {
    const page = pagesOf(await makeProgram()).find((one) => one.name === name) ?? assert.fail(name);
    const hasFlag = page.options.some(({ word }) => word === '--json');
    assert.equal(hasFlag, (json !== undefined || jsonPage !== undefined) && always !== true);
  });
}

/** Words of an example as a shell would give them to the command, without redirections. */
function wordsIn(example: string): string[] {
  const [, typed = ''] = /(?:^|\()enclaim ([^>)]*)/.exec(example) ?? assert.fail(example);
  return [...typed.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}

/** What a command prints, called in this process. */
async function printed(t: TestContext, ...words: readonly string[]): Promise<string> {
  const { mock } = t.mock.method(console, 'log', () => {});
  const { exitCode } = process;
  try {
    await (await makeProgram()).parseAsync([...words], { from: 'user' });
    return String(mock.calls.at(-1)?.arguments[0]);
  } finally {
    mock.restore();
    process.exitCode = exitCode;
  }
}

test('JSON has the shape that the manual says', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-manual-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [policy, weaker, key] = [join(clinic, 'policy.yaml'), join(folder, 'weaker.yaml'), join(folder, 'key.pem')];
  writeFileSync(weaker, readFileSync(policy, 'utf8').replace('P30D', 'P60D'));
  const calls: Readonly<Record<string, readonly string[]>> = {
    check: [clinic],
    test: [clinic],
    diff: [policy, weaker],
    'policy explain': [policy],
    'key new': [key],
    'key show': [key],
  };
  for (const [name, words] of Object.entries(calls))
    jsonOf(name, await printed(t, ...name.split(' '), ...words, '--json'));
});

test('a value of another shape is found', () => {
  const shape: Shape = { a: 'text', 'b?': ['number'], 'c|null': { '*': 'anything' }, d: 'x|y' };
  const good = { a: '', b: [1], c: null, d: 'x' };
  assert.equal(mismatch(shape, good), null);
  assert.equal(mismatch(shape, { ...good, c: { more: 1 } }), null);
  const wrong: readonly [object, RegExp][] = [
    [{ ...good, a: 1 }, /^\$\.a: 1 is not text/],
    [{ ...good, b: [1, ''] }, /^\$\.b\[1\]/],
    [{ ...good, d: 'z' }, /^\$\.d: "z"/],
    [{ ...good, e: 1 }, /^\$\.e: not in the shape/],
    [{ a: '', d: 'x' }, /^\$\.c: missing/],
  ];
  for (const [value, reason] of wrong) assert.match(mismatch(shape, value) ?? 'none', reason);
});

test('the manual page is roff without fault, and has every command', needs('mandoc'), async () => {
  const roff = manualPage(await makeProgram(), '0.1.0');
  const { stdout } = spawnSync('mandoc', ['-Tlint', '-W', 'warning'], { input: roff, encoding: 'utf8' });
  const faults = stdout.split('\n').filter((line) => line !== '' && !/missing date/.test(line));
  assert.deepEqual(faults, []);
  const shown = spawnSync('mandoc', ['-Tascii'], { input: roff, encoding: 'utf8' }).stdout.replaceAll(/.[\b]/g, '');
  for (const { usage } of pagesOf(await makeProgram())) assert.ok(shown.includes(usage), usage);
});
