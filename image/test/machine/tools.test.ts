import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findTools } from '../../src/machine/tools.ts';

const PROGRAMS = ['swtpm', 'swtpm_setup', 'swtpm_localca', 'setpriv', 'certtool'];

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-tools-'));
});
after(() => rm(folder, { recursive: true }));

test('an empty path names what is missing', async () => {
  await assert.rejects(findTools({ path: '' }), {
    name: 'MachineError',
    code: 'tool-missing',
    message: /swtpm.*scripts\/setup/,
  });
});

for (const missing of PROGRAMS) {
  test(`without ${missing}, it is named`, async () => {
    const path = join(folder, missing);
    await mkdir(path);
    for (const name of PROGRAMS) if (name !== missing) await symlink('/bin/true', join(path, name));
    await assert.rejects(findTools({ path }), { code: 'tool-missing', message: new RegExp(`^${missing} `) });
  });
}

test('a file that is no program does not count', async () => {
  const path = join(folder, 'plain');
  await mkdir(path);
  for (const name of PROGRAMS) await writeFile(join(path, name), '', { mode: 0o644 });
  await assert.rejects(findTools({ path: `${path}:relative::` }), { code: 'tool-missing' });
});
