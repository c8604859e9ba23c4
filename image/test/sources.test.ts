/** A repository that would fill its auditor's disk is refused: by its size, by the number of its files, and by what they unpack to. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type SourceBounds, takeRevision } from '../src/audit/sources.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-sources-'));
after(() => rm(scratch, { recursive: true, force: true }));

const ROOM: SourceBounds = { repositoryBytes: 1 << 20, files: 3, bytes: 1 << 20 };

/** A repository with one commit. */
async function repository(files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const folder = await mkdtemp(join(scratch, 'repository-'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  const as = ['-c', 'user.name=t', '-c', 'user.email=t@t.example', '-c', 'commit.gpgsign=false'];
  for (const words of [
    ['init', '--quiet', '--initial-branch=main'],
    ['add', '--all'],
    ['commit', '--quiet', '--message', 'a'],
  ])
    execFileSync('git', ['-C', folder, ...as, ...words]);
  return folder;
}

let taken = 0;
async function take(from: string, bounds: SourceBounds): Promise<readonly string[]> {
  const to = join(scratch, `taken-${taken++}`);
  await takeRevision(from, 'main', to, undefined, { bounds });
  return (await readdir(to)).sort();
}

const LARGE: readonly (readonly [name: string, files: Record<string, Uint8Array | string>, code: RegExp])[] = [
  ['more bytes than are cloned', { a: randomBytes(2 << 20) }, /^git clone: /],
  ['more files than are taken', { a: '1', b: '2', c: '3', d: '4' }, /a commit of 4 files, at most 3 are taken/],
  ['small objects of large files', { a: new Uint8Array(2 << 20) }, /a commit of 2097152 bytes, at most 1048576/],
];
for (const [name, files, message] of LARGE)
  test(`a repository of ${name} is refused, and taken where there is room`, async () => {
    const from = await repository(files);
    await assert.rejects(take(from, ROOM), { name: 'ImageError', code: 'source-invalid', message });
    assert.equal(existsSync(join(scratch, `taken-${taken - 1}`, 'a')), false, 'no file of it was written');
    const wide = { repositoryBytes: 4 << 20, files: 4, bytes: 4 << 20 };
    assert.deepEqual(await take(from, wide), Object.keys(files));
  });
