/**
 * The same bytes, however they are made: image, app bundle and disks are built twice, the second time with everything changed at once that
 * must not matter, and nothing taken over that was packed before.
 */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync } from 'node:fs';
import { chmod, chown, cp, lutimes, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { compareImages } from '../image/src/audit/audit.ts';
import { DISK_TARGETS } from '../image/src/disk/index.ts';
import { defaultCache } from '../image/src/inputs/fetch.ts';
import { buildCheckout, claim, copyCheckout, copyQuickCheckout, readImage } from './reproduce/checkout.ts';
import { LONG } from './support/long.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-bytes-'));
const preload = join(import.meta.dirname, 'reproduce/disorder.ts');
const isRoot = process.getuid?.() === 0;

const mounted: string[] = [];
after(async () => {
  for (const folder of mounted) execFileSync('umount', [folder]);
  await rm(scratch, { recursive: true, force: true });
});

/** The folder again, with its entries in disorder for every program; null where this machine has no disorderfs that works. */
async function disorderly(folder: string, at: string): Promise<string | null> {
  await mkdir(at, { recursive: true });
  const words = ['--multi-user=yes', '--shuffle-dirents=yes', '--quiet', folder, at];
  return promisify(execFile)('disorderfs', words).then(
    () => {
      mounted.push(at);
      return at;
    },
    () => null,
  );
}

test('(control) the disorder is one: no folder is listed in its order, and the clock is a year ahead', () => {
  const program = `
    import { createHash } from 'node:crypto';
import { createReadStream, readdirSync } from 'node:fs';
    import { readdir } from 'node:fs/promises';
    process.stdout.write(JSON.stringify([readdirSync('.'), await readdir('.'), Date.now(), new Date().getTime()]));`;
  const cwd = join(import.meta.dirname, '../image/src');
  const out = execFileSync(process.execPath, ['--import', preload, '--input-type=module', '-e', program], { cwd });
  const [sync, late, ...times] = JSON.parse(String(out)) as [string[], string[], number, number];
  const ordered = readdirSync(cwd);
  for (const found of [sync, late]) {
    assert.notDeepEqual(found, ordered);
    assert.deepEqual(found.toSorted(), ordered.toSorted());
  }
  for (const time of times) assert.ok(time - Date.now() > 365 * 86_400_000);
});

test('folder, order of files, user, umask, clock, times of files, time zone, language, number of cores', async (t) => {
  const [one, two] = [join(scratch, 'one'), join(scratch, 'another way/two')];
  // Packed as the published image is with `--long`; the demonstration's audit packs it so in every run.
  await (LONG ? copyCheckout : copyQuickCheckout)(one);
  await cp(one, two, { recursive: true, verbatimSymlinks: true });
  await buildCheckout(one, join(scratch, 'first'), { umask: 0o022, app: 'examples/clinic' });
  const first = await readImage(join(scratch, 'first'));

  const cache = join(scratch, 'cache/inputs');
  await cp(join(defaultCache(), 'inputs'), cache, { recursive: true });
  await chmod(scratch, 0o755); // mkdtemp's 0700 would keep the other user out
  const out = join(scratch, 'out');
  await mkdir(out);
  const nobody = isRoot ? { uid: 65534, gid: 65534 } : {};
  for (const path of [two, cache, out]) if (isRoot) await chown(path, 65534, 65534);
  await moveTimes(two, new Date(Date.now() + 366 * 86_400_000));
  const folder = await disorderly(two, join(scratch, 'disorder'));
  t.diagnostic(folder === null ? 'disorderfs does not work here: Node’s own readdir is shuffled' : 'on disorderfs');
  await buildCheckout(folder ?? two, join(out, 'second'), {
    prefix: ['taskset', '--cpu-list', '0'],
    preload,
    umask: 0o077,
    user: nobody as { uid: number; gid: number },
    env: {
      ENCLAIM_CACHE: join(scratch, 'cache'),
      TZ: 'Pacific/Chatham',
      LANG: 'tr_TR.UTF-8',
      NODE_PATH: one,
      SOURCE_DATE_EPOCH: '1',
    },
    reuse: false,
    app: 'examples/clinic',
  });
  const second = await readImage(join(out, 'second'));

  assert.deepEqual(await compareImages(claim(second), first), []);
  for (const name of ['uki', 'kernel', 'initrd'] as const) {
    assert.ok(Buffer.from(second[name]).equals(first[name]), name);
  }
  for (const name of ['enclaim', ...Object.keys(DISK_TARGETS)]) {
    assert.equal(await digestOf(join(out, `second.${name}`)), await digestOf(join(scratch, `first.${name}`)), name);
  }
  t.diagnostic(`${first.manifest.id} on 1 core and on ${availableParallelism()}`);
});

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest('hex');
}

/** Moves the times of every file and folder. */
async function moveTimes(folder: string, time: Date): Promise<void> {
  for (const { parentPath, name } of await readdir(folder, { recursive: true, withFileTypes: true })) {
    await lutimes(join(parentPath, name), time, time);
  }
}
