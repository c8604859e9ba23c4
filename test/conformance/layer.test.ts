/** What counts as an exact refusal, and what the run could not give to the code. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { atLayer, type LayerRow } from './layer.ts';
import { CannotFeed } from './topic.ts';

const ROWS: readonly LayerRow[] = [[/^length/, ['format'], /bytes wanted/]];

test('a refusal is exact by its layer and its reason', () => {
  assert.equal(atLayer('length', 'format: 4 bytes wanted, 3 left', ROWS).exact, true);
  assert.equal(atLayer('length', 'format: CoRIM of another profile', ROWS).exact, false);
  assert.equal(atLayer('length', 'formats: 4 bytes wanted', ROWS).exact, false);
  assert.equal(atLayer('length', 'signature: 4 bytes wanted', ROWS).exact, false);
  assert.equal(atLayer('length', 'accept', ROWS).exact, false);
  assert.throws(() => atLayer('an unknown word', 'format: 4 bytes wanted', ROWS), CannotFeed);
});

test('what cannot be fed is told from what is missed, and is not exact', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-conformance-'));
  try {
    const cases = [
      { id: 'no such role', files: {}, expected: { result: 'accept' } },
      { id: 'no such file', files: { doc: 'absent.cose' }, expected: { result: 'accept' } },
      { id: 'missed', files: { doc: 'empty.cose' }, expected: { result: 'accept', verify_at_ms: 0 } },
    ];
    for (const topic of ['nitro', 'a topic of somebody else']) {
      await mkdir(join(folder, topic));
      await writeFile(join(folder, topic, 'empty.cose'), '');
      await writeFile(join(folder, topic, 'manifest.json'), JSON.stringify({ topic, cases }));
    }
    const words = [join(import.meta.dirname, 'run.ts'), '--json', '--vectors', folder];
    const { code, stdout } = await promisify(execFile)(process.execPath, words).then(
      (done) => ({ code: 0, stdout: done.stdout }),
      (failed: { code: number; stdout: string }) => failed,
    );
    assert.equal(code, 1);
    const { topics } = JSON.parse(stdout);
    const ids = (list: { id: string }[]): string[] => list.map(({ id }) => id);
    assert.deepEqual(ids(topics.nitro.unfed), ['no such role', 'no such file']);
    assert.deepEqual(ids(topics.nitro.misses), ['missed']);
    assert.equal(topics['a topic of somebody else'].unfed.length, 3);
    assert.equal(topics.nitro.exact, 0);
  } finally {
    await rm(folder, { recursive: true });
  }
});
