/** Archives by content: what a hostile or broken one serves is never taken, and the next place is asked. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { HANGS_MS } from '../../test/support/eventually.ts';
import type { Patience } from '../src/inputs/download.ts';
import { type FetchOptions, fetchLocked, findInputs } from '../src/inputs/fetch.ts';
import { inputsOf, readLocks, saveArchive } from '../src/inputs/inputs.ts';
import type { LockedDeb, LockedNpm } from '../src/inputs/lock.ts';
import { archivesOf } from '../src/inputs/places.ts';
import { contentOf, pretendInput, SuiteMirror } from './suite-mirror.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-places-'));
const mirror = await SuiteMirror.start();
const deb: LockedDeb = pretendInput({
  kind: 'deb',
  name: 'sample',
  version: '1',
  suite: 'forky',
  path: 'pool/main/s/sample/sample_1_amd64.deb',
  size: 0,
  sha256: '',
});
const BYTES = contentOf(deb);
const OTHER = BYTES.with(0, 0x58);
/** With archives that say too little for ever. */
const LITTLE: Patience = { silence: 1500, bytesPerSecond: 1 << 20 };
/** With others: no busy machine is so slow. */
const PATIENCE: Patience = { silence: HANGS_MS, bytesPerSecond: 1 };

/** What an archive answers with, whatever is asked for. */
const ANSWERS: Readonly<Record<string, (response: ServerResponse) => void>> = {
  honest: (response) => response.end(BYTES),
  lying: (response) => response.end(OTHER),
  truncated: (response) => response.end(BYTES.subarray(1)),
  cut: (response) => {
    response.writeHead(200, { 'content-length': BYTES.length });
    response.write(BYTES.subarray(0, 3), () => response.destroy());
  },
  endless: (response) => {
    response.once('drain', () => ANSWERS.endless?.(response));
    while (!response.destroyed && response.write(Buffer.alloc(65_536)));
  },
  dripping: (response) => {
    const drop = (): void => {
      if (!response.destroyed) response.write('x', () => setTimeout(drop, 400));
    };
    response.writeHead(200, { 'content-length': BYTES.length + 1_000_000 });
    drop();
  },
  silent: () => {},
  lacking: (response) => response.writeHead(404).end(BYTES),
  forbidden: (response) => response.writeHead(403).end(BYTES),
  broken: (response) => response.writeHead(500).end(BYTES),
  empty: (response) => response.writeHead(204).end(),
  'to-honest': (response) => response.writeHead(302, { location: '/honest/x' }).end(),
  'to-lying': (response) => response.writeHead(302, { location: '/lying/x' }).end(),
  'to-itself': (response) => response.writeHead(302, { location: '/to-itself/x' }).end(),
  'to-a-file': (response) => response.writeHead(302, { location: 'file:///etc/hostname' }).end(),
};
const asked: string[] = [];
const server = createServer((request, response) => {
  asked.push(request.url ?? '');
  ANSWERS[request.url?.split('/')[1] ?? '']?.(response);
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const archive = (kind: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${kind}`;
after(async () => {
  mirror.close();
  server.closeAllConnections();
  server.close();
  await rm(scratch, { recursive: true, force: true });
});

let folders = 0;
const newFolder = (): string => join(scratch, `folder${folders++}`);
const look = (archives: readonly string[], more: FetchOptions = {}): FetchOptions => ({
  cache: newFolder(),
  mirrors: [mirror.base],
  archives,
  patience: archives.some((archive) => /(silent|dripping)$/.test(archive)) ? LITTLE : PATIENCE,
  ...more,
});

const REFUSED: readonly [string, RegExp][] = [
  ['lying', /sha256 [0-9a-f]{64}, the lock says/],
  ['truncated', /7 bytes, the lock says 8/],
  ['cut', /terminated/],
  ['endless', /more bytes, the lock says 8/],
  ['dripping', /not received whole|nothing received/],
  ['silent', /nothing received for 1.5 s|not received whole/],
  ['lacking', /HTTP 404/],
  ['forbidden', /HTTP 403/],
  ['broken', /HTTP 500/],
  ['empty', /HTTP 204|0 bytes, the lock says 8/],
  ['to-lying', /sha256 [0-9a-f]{64}, the lock says/],
  ['to-itself', /redirect/],
  ['to-a-file', /scheme|URL/],
];

for (const [bad, reason] of REFUSED) {
  test(`an archive that is ${bad}: nothing of it is kept, the reason is said, and the next one is asked`, async () => {
    const alone = look([archive(bad)]);
    await assert.rejects(fetchLocked([deb], alone), { code: 'input-nowhere', message: reason });
    assert.deepEqual(await readdir(join(alone.cache ?? '', 'inputs')), []);
    const [finding] = await findInputs([deb], look([archive(bad), archive('honest')]));
    assert.equal(finding?.found?.place, archive('honest'));
    assert.deepEqual(await readFile(finding?.found?.path ?? ''), BYTES);
  });
}

test('an archive is asked by hash alone, and may lead elsewhere', async () => {
  asked.length = 0;
  const [finding] = await findInputs([deb], look([archive('to-honest')]));
  assert.equal(finding?.found?.place, archive('to-honest'));
  assert.deepEqual(asked, [`/to-honest/sha256/${deb.sha256}`, '/honest/x']);
});

test('a server that hangs is asked for one input, and not for each', async () => {
  const others = ['b', 'c', 'd', 'e', 'f', 'g'].map((name) => pretendInput({ ...deb, name: `sample-${name}` }));
  asked.length = 0;
  const findings = await findInputs([deb, ...others], look([archive('silent')]));
  assert.ok(findings.every(({ found }) => found === null));
  // Three are looked for at a time, and each is tried three times at most.
  assert.ok(new Set(asked).size <= 3, `${asked}`);
});

/** Folders of an archive; each is called with the place where the input belongs. */
const FOLDERS: readonly [string, (file: string) => unknown, RegExp][] = [
  ['lies', (file) => writeFile(file, OTHER), /sha256 [0-9a-f]{64}, the lock says/],
  ['is truncated', (file) => writeFile(file, BYTES.subarray(1)), /7 bytes, the lock says 8/],
  ['is too large', (file) => writeFile(file, Buffer.alloc(1 << 20)), /1048576 bytes, expected at most 8/],
  ['has a device', (file) => symlink('/dev/zero', file), /not a file/],
  ['has a pipe', (file) => execFileSync('mkfifo', [file]), /not a file/],
  ['has a folder', (file) => mkdir(file), /not a file/],
  ['has nothing', () => {}, /not there/],
];

for (const [name, make, reason] of FOLDERS) {
  test(`a folder that ${name} is passed over`, async () => {
    const folder = newFolder();
    await mkdir(join(folder, 'sha256'), { recursive: true });
    await make(join(folder, 'sha256', deb.sha256));
    await assert.rejects(fetchLocked([deb], look([folder])), { code: 'input-nowhere', message: reason });
    const [finding] = await findInputs([deb], look([folder, archive('honest')]));
    assert.equal(finding?.found?.place, archive('honest'));
  });
}

test('what is neither a folder nor of HTTP is said to be so', async () => {
  const message = /ftp:\/\/x\/: neither a folder nor an http\(s\) URL; \/none: not there/;
  await assert.rejects(fetchLocked([deb], look(['ftp://x/', '/none'])), { message });
});

test('ENCLAIM_ARCHIVE names several, between commas', () => {
  assert.deepEqual(archivesOf({ ENCLAIM_ARCHIVE: ' /a b , https://c/d,,' }), ['/a b', 'https://c/d']);
  assert.deepEqual(archivesOf({}), []);
});

test('a registry that lacks a package, or has another, is passed over; both locked hashes must hold', async () => {
  const npm: LockedNpm = pretendInput({
    kind: 'npm',
    name: 'sample',
    version: '1.0.0',
    size: 0,
    integrity: '',
    sha256: '',
  });
  const folder = newFolder();
  await mkdir(join(folder, 'sha256'), { recursive: true });
  await writeFile(join(folder, 'sha256', npm.sha256), contentOf(npm));
  const foundIn = async (input: LockedNpm): Promise<string | undefined> => {
    const registry = `${mirror.base}${newFolder().split('/').at(-1)}/`;
    const [finding] = await findInputs([input], look([folder], { registry }));
    return finding?.found?.place;
  };
  assert.equal(await foundIn(npm), folder);
  mirror.contents = { inputs: [npm] };
  const [honest] = await findInputs([npm], look([folder], { registry: mirror.base }));
  assert.equal(honest?.found?.place, mirror.base);
  const { integrity } = pretendInput({ ...npm, version: '2.0.0' });
  await assert.rejects(fetchLocked([{ ...npm, integrity }], look([folder])), {
    message: /sha512-.*the lock says sha512-/,
  });
});

test('every locked input in turn: where no mirror has it, an archive does, and without one it alone is named', async () => {
  const used = inputsOf(await readLocks());
  const inputs = used.map(({ input }) => pretendInput(input));
  const options = look([], { registry: mirror.base });
  mirror.contents = { inputs };
  const findings = await findInputs(inputs, options);
  const saved = newFolder();
  await saveArchive(
    inputs.map((input) => ({ input, uses: ['image'] })),
    findings,
    saved,
  );
  assert.equal((await readdir(join(saved, 'sha256'))).length, inputs.length);
  for (const input of inputs) {
    // With the others in the cache, only this one is looked for.
    await rm(findings.find((finding) => finding.input === input)?.found?.path ?? '');
    mirror.contents = { inputs: inputs.filter((other) => other !== input) };
    const registry = `${mirror.base}none-${input.sha256}/`;
    const message = new RegExp(`^nowhere to be had: ${RegExp.escape(input.name)}\n`);
    await assert.rejects(fetchLocked(inputs, { ...options, registry }), { code: 'input-nowhere', message });
    const paths = await fetchLocked(inputs, { ...options, registry, archives: [saved] });
    assert.deepEqual(await readFile(join(options.cache ?? '', 'inputs', input.sha256)), contentOf(input));
    assert.ok(paths.has(input.name));
  }
});

test('an archive is the same bytes each time, mends what was changed in it, and has no index where one is missing', async () => {
  mirror.contents = { inputs: [deb] };
  const used = [{ input: deb, uses: ['image', 'tests'] }];
  const findings = await findInputs([deb], look([]));
  const [one, two] = [newFolder(), newFolder()];
  for (const folder of [one, two]) await saveArchive(used, findings, folder);
  await writeFile(join(two, 'sha256', deb.sha256), OTHER);
  await saveArchive(used, findings, two);
  for (const file of ['index.json', `sha256/${deb.sha256}`])
    assert.deepEqual(await readFile(join(one, file)), await readFile(join(two, file)));
  assert.deepEqual(JSON.parse(await readFile(join(one, 'index.json'), 'utf8')), {
    enclaim: 'inputs/1',
    inputs: [{ ...deb, uses: ['image', 'tests'] }],
  });
  mirror.contents = { inputs: [] };
  const three = newFolder();
  await assert.rejects(saveArchive(used, await findInputs([deb], look([])), three), { code: 'input-nowhere' });
  await assert.rejects(readdir(three));
});

test('inputs of suites that move on within weeks lie among the sources, where they are small', async () => {
  const folder = join(import.meta.dirname, '../inputs/sha256');
  const { image, machine } = await readLocks();
  const all = [...image.inputs, ...Object.values(machine).flat()];
  const moving = all.filter((input) => input.kind === 'deb' && /^(forky|sid|testing)/.test(input.suite));
  const small = moving.filter(({ size }) => size <= 2 << 20);
  assert.deepEqual((await readdir(folder)).sort(), small.map(({ sha256 }) => sha256).sort());
  const findings = await findInputs(small, { cache: newFolder(), mirrors: [], archives: [] });
  assert.deepEqual(new Set(findings.map(({ found }) => found?.place)), new Set(['sources']));
});
