/** What a stranger's build gets at while it is audited, and what it can leave behind: nothing of the host, and nobody's folder but its own. */

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { projectRoot, rebuild } from '../image/src/index.ts';
import { pretendImage, sourcesOf } from './reproduce/pretend-image.ts';
import { cached, lockOf, packageOf, writeSources } from './reproduce/pretend-sources.ts';
import { eventually } from './support/eventually.ts';
import { needs } from './support/machine-needs.ts';

const isRoot = process.getuid?.() === 0;
const rooted = needs('root');
const alone = needs('namespaces of a build');
const scratch = await mkdtemp('/tmp/enclaim-sandbox-');
after(() => rm(scratch, { recursive: true, force: true }));
await chmod(scratch, 0o755); // the build runs as another user
const at = (name: string): string => join(scratch, name);
process.env.npm_config_cache = at('npm');
process.env.TMPDIR = at('tmp');
await mkdir(at('tmp'));
const source = at('source');

/** What a build says that ends with 1. */
async function saidBy(node: string): Promise<string> {
  await writeSources(source, at('npm'), { node: `${node}\nexit 1` });
  return `${await rebuild({ source }).catch((error: Error) => error.message)}`;
}

/** Clean folders of audits. */
const cleanFolders = (): string[] => readdirSync(at('tmp')).filter((name) => name.startsWith('enclaim-audit-'));

describe('programs with the auditor’s rights', rooted, () => {
  test('in a package or among the sources: they have lost them, and no other user gets at them before', async () => {
    const program = { data: '#!/bin/sh\n', mode: 0o6755 };
    const evil = packageOf([
      { name: 'package/package.json', data: '{"name":"x","version":"26.10.0"}' },
      { name: 'package/program', ...program },
    ]);
    await writeSources(source, at('npm'), {
      node: 'find . -perm /7022 ! -type l -printf "found %m %p\\n" >&2; echo looked >&2; exit 1',
      files: {
        'package-lock.json': lockOf({ x: '26.10.0' }, { 'node_modules/x': await cached(evil, at('npm'), 'x') }),
        'plain/program': program.data,
        'open/file': '',
      },
    });
    await chmod(join(source, 'plain/program'), 0o4755);
    await chmod(join(source, 'open'), 0o777);
    const entered: string[] = [];
    const message = await rebuild({
      source,
      onStep: (step) => {
        const other = ['--reuid=12345', '--regid=12345', '--clear-groups', 'ls'];
        for (const folder of cleanFolders()) {
          if (spawnSync('setpriv', [...other, join(at('tmp'), folder)]).status === 0) entered.push(step);
          if (spawnSync('setpriv', [...other, join(at('tmp'), folder, 'source')]).status === 0) entered.push(step);
        }
      },
    }).catch((error: Error) => error.message);
    assert.match(`${message}`, /looked/);
    assert.doesNotMatch(`${message}`, /found/);
    assert.deepEqual(entered, []);
  });
});

describe('a build that goes on', () => {
  test('out of its group, and tied to nobody: it ends with the auditor', alone, async () => {
    await writeSources(source, at('npm'), { node: 'exec setpriv --pdeathsig=clear setsid sleep 987652' });
    const auditor = await startAudit();
    const gone = once(auditor, 'exit');
    await eventually('it', () => running('sleep 987652') === 1);
    auditor.kill('SIGKILL');
    await gone;
    await eventually('it', () => running('sleep 987652') === 0);
    for (const folder of cleanFolders()) await rm(join(at('tmp'), folder), { recursive: true });
  });

  // Without namespaces it may outlive the audit, which then leaves its folders.
  test('and exchanges its folders for links when its time is over: nothing behind them is deleted', async () => {
    const victim = at('victim');
    await mkdir(victim);
    for (let n = 0; n < 50; n++) await writeFile(join(victim, `${n}`), '');
    if (isRoot) await chmod(victim, 0o700);
    const race = `
      $h = $ENV{HOME};
      for (0..299) {
        mkdir "$h/d$_"; mkdir "$h/d$_/k"; open F, '>', "$h/d$_/k/f"; close F; symlink '${victim}', "$h/d$_/s";
      }
      $end = time + 10;
      while (time < $end) { for (0..299) { syscall(316, -100, "$h/d$_/k", -100, "$h/d$_/s", 2) } }`;
    await writeSources(source, at('npm'), {
      node: 'exec setpriv --pdeathsig=clear setsid perl race.pl',
      files: { 'race.pl': race },
    });
    const auditor = await startAudit({ quarter: 3000 });
    await once(auditor, 'exit');
    assert.equal((await readdir(victim)).length, 50);
    if (alone.skip !== false) return;
    assert.equal(running('perl race.pl'), 0, 'it outlives the audit');
    assert.deepEqual(cleanFolders(), []);
  });

  test('or leaves folders that nobody may enter: they are removed, and the audit says its own error', async () => {
    const said = await saidBy('mkdir -p "$HOME/a/b/c" "$HOME/d"; chmod 0 "$HOME/a/b" "$HOME/a"; echo done >&2');
    assert.match(said, /ended with 1|done/);
    assert.deepEqual(cleanFolders(), []);
  });
});

describe('another on the same machine', () => {
  test('an audit of other sources: its folder is not written to', rooted, async () => {
    const honest = await pretendImage();
    const hostile = await pretendImage({ kernel: 'another kernel' });
    const [mine, theirs] = [sourcesOf(honest), sourcesOf(hostile)];
    await writeSources(at('honest'), at('npm'), { ...mine, node: `${mine.node} && sleep 3` });
    const copy = `for d in ${at('tmp')}/*/out/image; do cp -f prepared/* "$d/"; done`;
    const node = `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do ${copy}; sleep 0.4; done 2>/dev/null; exit 1`;
    await writeSources(at('hostile'), at('npm'), { ...theirs, node });
    const [rebuilt] = await Promise.all([
      rebuild({ source: at('honest') }),
      assert.rejects(rebuild({ source: at('hostile') }), { code: 'build-failed' }),
    ]);
    assert.equal(rebuilt.image.manifest.id, JSON.parse(honest.manifest).id);
  });

  test('each audit has a user of its own', rooted, async () => {
    const users = [await saidBy('echo "user $(id -u) $(id -g) $(id -G)" >&2')];
    users.push(await saidBy('echo "user $(id -u) $(id -g) $(id -G)" >&2'));
    const found = users.map((text) => /user (\d+) \1 \1$/m.exec(text)?.[1]);
    assert.ok(
      found.every((one) => one !== undefined && one !== '65534' && one !== '0'),
      users.join(),
    );
    assert.notEqual(found[0], found[1]);
  });

  test('a process of the host, of whatever user: it is not seen', alone, async () => {
    const other = spawn('sleep', ['987651']);
    const said = await saidBy(`grep -l 98765[1] /proc/[0-9]*/cmdline >&2; ls -d /proc/${process.pid} >&2; id >&2`);
    other.kill();
    assert.match(said, /uid=/);
    assert.doesNotMatch(said, /\/cmdline|^ *\/proc/m);
  });
});

describe('ways out', () => {
  test('a link to a claimed image of the auditor’s in place of one of its own: it is not followed', async () => {
    const sources = sourcesOf(await pretendImage());
    await writeSources(source, at('npm'), { ...sources, node: `ln -s ${at('claimed')} "$5"` });
    await rename(join(source, 'prepared'), at('claimed'));
    await assert.rejects(rebuild({ source }), { code: 'build-failed' });
  });

  test('descriptors that the auditor inherited: the build has none of them', async () => {
    await writeFile(at('secret'), 'what is only the auditor’s');
    await writeFile(at('written'), '');
    const node = 'cat /proc/self/fd/40 >&2; echo "from the build" > /proc/self/fd/63; echo looked >&2; exit 1';
    await writeSources(source, at('npm'), { node });
    const auditor = await startAudit({
      descriptors: { 40: openSync(at('secret'), 'r'), 63: openSync(at('written'), 'r+') },
    });
    let said = '';
    auditor.stdout?.setEncoding('utf8').on('data', (piece: string) => {
      said += piece;
    });
    await once(auditor, 'close');
    assert.match(said, /looked/);
    assert.doesNotMatch(said, /only the auditor/);
    assert.equal(await readFile(at('written'), 'utf8'), '');
  });

  test('a service of the host that listens where such services do: it is not there', alone, async () => {
    const places = ['/tmp', '/var/tmp', '/dev/shm', ...(isRoot ? ['/run'] : [])];
    const files = places.map((place, n) => join(place, `enclaim-${process.pid}-${n}.sock`));
    const servers = files.map((file) => createServer((socket) => socket.end('from outside')).listen(file));
    await Promise.all(servers.map((server) => once(server, 'listening')));
    await Promise.all(files.map((file) => chmod(file, 0o666)));
    const ask = (file: string): string =>
      `perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); connect(S,pack_sockaddr_un("${file}")) and print STDERR <S>'`;
    const said = await saidBy(`${files.map(ask).join('\n')}\necho asked >&2`);
    for (const server of servers) server.close();
    assert.match(said, /asked/);
    assert.doesNotMatch(said, /from outside/);
  });

  test('the host’s folders that are covered: the build has no right to uncover them', alone, async () => {
    const said = await saidBy(`
      grep Cap[PEBA] /proc/self/status >&2
      umount /tmp && echo 'was uncovered' >&2
      unshare --user --map-root-user --mount umount /tmp && echo 'was uncovered' >&2
      kill -9 1; cat /proc/1/environ >/dev/null && echo 'was read' >&2; ls ${scratch} /dev/pts >&2`);
    assert.match(said, /CapEff:.0{16}/);
    assert.doesNotMatch(said, /was (uncovered|read)/);
    assert.doesNotMatch(said, /^ *(npm|source)$/m);
  });

  test('names of the sources’ folder that a shell could take for words: they are taken as they are', async () => {
    process.env.TMPDIR = at('tmp/a $(touch b) "c\' d');
    await mkdir(process.env.TMPDIR);
    const said = await saidBy('pwd >&2; ls package.json >&2; touch "$HOME/mine" && echo written >&2');
    process.env.TMPDIR = at('tmp');
    assert.match(said, /package\.json\n {2}written/);
  });
});

/** A process of its own that rebuilds the sources, perhaps with another quarter of an hour, and more descriptors. */
async function startAudit({
  quarter = 900_000,
  descriptors = {},
}: {
  quarter?: number;
  descriptors?: Readonly<Record<number, number>>;
} = {}) {
  await writeFile(
    at('audit.mjs'),
    `const real = globalThis.setTimeout;
    globalThis.setTimeout = (end, ms, ...more) => real(end, ms === 900_000 ? ${quarter} : ms, ...more);
    const { rebuild } = await import(${JSON.stringify(join(projectRoot, 'image/src/index.ts'))});
    await rebuild({ source: ${JSON.stringify(source)} }).catch(({ message }) => console.log(message));`,
  );
  const length = Math.max(2, ...Object.keys(descriptors).map(Number)) + 1;
  const stdio = Array.from({ length }, (_, n) => descriptors[n] ?? (n === 1 ? 'pipe' : 'ignore'));
  return spawn(process.execPath, [at('audit.mjs')], { stdio });
}

/** How many processes of the machine have this command line. */
function running(line: string): number {
  const lines = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n');
  return lines.filter((found) => found === line).length;
}
