/** Packages in handlers: those of the table that are here; `node bench/packages.ts` fetches and tries them all. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openLab } from './support/lab.ts';
import { bundleUse, PACKAGE_USES, saysInNode } from './support/packages.ts';

const modules = join(import.meta.dirname, '../node_modules');
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-packages-'));
  await symlink(modules, join(folder, 'node_modules'));
});
after(() => rm(folder, { recursive: true }));

const here = PACKAGE_USES.filter(({ name }) => existsSync(join(modules, name)));

test('the table names what was tried, each once', () => {
  const names = PACKAGE_USES.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert(names.length >= 20);
  assert(here.length >= 4, here.map(({ name }) => name).join());
});

for (const use of here) {
  test(`${use.name}: ${use.outcome}`, async () => {
    if (use.outcome === 'refused') {
      await assert.rejects(bundleUse(folder, use));
      return;
    }
    const code = await bundleUse(folder, use);
    const word = await saysInNode(code);
    assert.notEqual(word, '');
    const lab = await openLab({ handlers: code });
    try {
      const { messages } = await lab.call('Sum', { key: 'k' });
      assert.deepEqual(messages, use.outcome === 'works' ? [{ word }] : []);
    } finally {
      lab.close();
    }
  });
}
