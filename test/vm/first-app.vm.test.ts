/** A reader of docs/start/first-app.md who runs its blocks, as they stand and from an empty folder, sees what it shows. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaultCache } from '../../image/src/index.ts';
import { projectRoot } from '../../image/src/inputs/fetch.ts';

/** A block of code: what stands behind its fence, and its text. */
interface Block {
  readonly kind: string;
  readonly text: string;
}

const page = await readFile(join(projectRoot, 'docs/start/first-app.md'), 'utf8');
const blocks: readonly Block[] = [...page.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map(([, kind = '', text = '']) => ({
  kind,
  text,
}));

let scratch: string;
/** The commands that stay in the foreground of a terminal of their own, with what they said. */
const staying: { readonly child: ChildProcess; said: () => string }[] = [];

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'enclaim-first-app-'));
});
after(async () => {
  for (const { child } of staying) {
    if (child.exitCode !== null) continue;
    child.kill('SIGINT');
    await once(child, 'close');
  }
  await rm(scratch, { recursive: true, force: true });
});

function start(text: string): { readonly child: ChildProcess; said: () => string } {
  const PATH = `${join(projectRoot, 'scripts')}:${process.env.PATH}`;
  const env = { ...process.env, PATH, ENCLAIM_CACHE: defaultCache() };
  const child = spawn('bash', ['-euo', 'pipefail', '-c', text], {
    cwd: scratch,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let heard = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (part: string) => {
      heard += part;
    });
  return { child, said: () => heard };
}

/** Does what a block asks of its reader, and gives what they see. */
async function follow({ kind, text }: Block): Promise<() => string> {
  const [language, word] = kind.split(' ');
  if (language === 'ts') {
    const file = join(scratch, word ?? assert.fail('a source without a place'));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    return () => '';
  }
  assert.equal(language, 'sh', kind);
  // Bash becomes the last command of a text, so that a signal to it reaches the machine.
  const { child, said } = start(word === 'stays' ? `exec ${text}` : text);
  if (word === 'stays') staying.push({ child, said });
  else {
    const [code] = (await once(child, 'close')) as [number | null];
    if (word === 'fails') assert.notEqual(code, 0, `${text}${said()}`);
    else assert.equal(code, 0, `${text}${said()}`);
  }
  return said;
}

test('the page has commands, sources and what is seen', () => {
  const kinds = blocks.map(({ kind }) => kind.split(' ')[0]);
  for (const [kind, least] of [
    ['sh', 9],
    ['ts', 1],
    ['text', 6],
  ] as const)
    assert.ok(kinds.filter((other) => other === kind).length >= least, `blocks of ${kind}`);
});

test('each block does what the page says, in its order', async () => {
  let said = (): string => '';
  for (const block of blocks) {
    if (block.kind !== 'text') {
      said = await follow(block);
      continue;
    }
    const lines = block.text.split('\n').filter(Boolean);
    // What stays in the foreground says it in time, or ends: a machine that is silent is given up.
    const running = staying.at(-1);
    while (running?.said === said && running.child.exitCode === null && !lines.every((line) => said().includes(line)))
      await sleep(100);
    for (const line of lines) assert.ok(said().includes(line), `${line}\nwas not seen in\n${said()}`);
  }
});
