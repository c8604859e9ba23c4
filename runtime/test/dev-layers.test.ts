/** On a developer's machine, a layer counts as held only where a process in it shows that it is. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { needs } from '../../test/support/machine-needs.ts';
import { confinementHere } from '../src/dev/layers.ts';

const folder = await mkdtemp(join(tmpdir(), 'enclaim-layers-'));
const { PATH = '' } = process.env;
afterEach(() => {
  process.env.PATH = PATH;
});
after(() => rm(folder, { recursive: true }));

/** Puts programs before those of the machine. */
async function instead(programs: Readonly<Record<string, string>>): Promise<void> {
  const bin = await mkdtemp(join(folder, 'bin-'));
  for (const [name, text] of Object.entries(programs))
    await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  process.env.PATH = `${bin}${delimiter}${PATH}`;
}

/** Starts what it is asked to, and does nothing else. */
const IDLE = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"';
const LIMITS = String(384 * 1024 * 1024);

test('programs that start a worker and hold nothing give no layer', async () => {
  await instead({ unshare: IDLE, 'systemd-run': IDLE });
  const { held, missing, launcher, forks } = confinementHere();
  assert.deepEqual([held, launcher, forks], [[], [], false]);
  assert.deepEqual(missing, ['user', 'namespaces', 'root', 'cgroup']);
});

test('nor do programs that fail, or are not there', async () => {
  await instead({ unshare: 'exit 1', 'systemd-run': `echo ${LIMITS}; echo 32; exit 1` });
  assert.deepEqual(confinementHere().held, []);
});

test('a group whose limits are shown is one', async () => {
  await instead({ unshare: 'exit 1', 'systemd-run': `echo ${LIMITS}; echo 32` });
  assert.deepEqual(confinementHere().held, ['cgroup']);
  await instead({ unshare: 'exit 1', 'systemd-run': 'echo max; echo 32' });
  assert.deepEqual(confinementHere().held, []);
});

test('namespaces that differ from this one are some', needs('user namespaces'), async () => {
  await instead({ 'systemd-run': 'exit 1' });
  const { held, launcher, missing } = confinementHere();
  assert.deepEqual([held, missing], [['namespaces'], ['user', 'root', 'cgroup']]);
  assert.ok(launcher.includes('unshare'));
});
