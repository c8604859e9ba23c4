/** Packages in handlers: those of the table that are here; `node bench/packages.ts` fetches and tries them all. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openLab } from './support/lab.ts';
import { bundleUse, PACKAGE_USES, saysInNode } from './support/packages.ts';

const modules = join(import.meta.dirname, '../node_modules');
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-packages-'));
  const copied = new Set<string>();
  for (const { name } of here) await copy(name, copied);
});
after(() => rm(folder, { recursive: true }));

/** Puts a package and what it depends on into the app's own folder: handlers import nothing from beyond it. */
async function copy(name: string, copied: Set<string>): Promise<void> {
  if (copied.has(name)) return;
  copied.add(name);
  await cp(join(modules, name), join(folder, 'node_modules', name), { recursive: true });
  const { dependencies = {} } = JSON.parse(await readFile(join(modules, name, 'package.json'), 'utf8'));
  for (const each of Object.keys(dependencies)) await copy(each, copied);
}

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
