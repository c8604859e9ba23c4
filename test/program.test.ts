/** A program that a test starts is waited for within limits, and outlives neither its own end nor the test that forgot it. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { allProcesses } from '../scripts/marked-processes.ts';
import { HANGS_MS } from './support/eventually.ts';
import { Program } from './support/program.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-program-'));
after(() => rm(scratch, { recursive: true }));

const shell = (text: string, hangsMs?: number): Program =>
  new Program(['sh', '-c', text], hangsMs === undefined ? {} : { hangsMs });

test('a line is heard whole, on either output', async () => {
  await using program = shell('printf "port 4"; sleep 0.2; echo 2; echo served >&2; exec sleep 1000311');
  assert.equal((await program.line(/^port (\d+)$/))[1], '42');
  await program.line(/^served$/);
  assert.equal(program.running, true);
});

test('who waits for a line of a program that ends without is told so, with what it said', async () => {
  await using program = shell('echo failed: no port >&2; exit 7');
  await assert.rejects(program.line(/^port/), /ended with 7 and did not say .*failed: no port/s);
  assert.equal((await program.ended()).code, 7);
});

test('one that cannot be started at all is told, too', async () => {
  await using program = new Program([join(scratch, 'none')]);
  await assert.rejects(program.line(/^port/), /ENOENT/);
});

test('who waits for one that hangs is told so, and it is ended', async () => {
  await using silent = shell('echo begun; exec sleep 1000312', 500);
  await assert.rejects(silent.line(/^port/), /hangs: .*begun/s);
  await assert.rejects(silent.ended(), /hangs: the end of/);
});

test('a test whose opening fails halfway ends, and with it the program that it started', async () => {
  const file = join(scratch, 'opening.test.mjs');
  await writeFile(
    file,
    `import { before, test } from 'node:test';
     import { Program } from ${JSON.stringify(join(import.meta.dirname, 'support/program.ts'))};
     before(async () => {
       const program = new Program(['sh', '-c', 'echo begun; exec sleep 1000313']);
       await program.line(/^begun$/);
       throw new Error('fails to open');
     });
     test('is not reached', () => {});`,
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  await using opening = new Program([process.execPath, file], { env, hangsMs: HANGS_MS });
  const { code, stdout } = await opening.ended();
  assert.equal(code, 1, stdout);
  assert.match(stdout, /fails to open/);
  assert.deepEqual(
    allProcesses().filter(({ words }) => words.endsWith('sleep 1000313')),
    [],
  );
});
