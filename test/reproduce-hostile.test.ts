/** Sources whose build would rather own the auditor than be audited: what it pins, says and leaves behind gets it nowhere. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { projectRoot, rebuild } from '../image/src/index.ts';
import { writeSources } from './reproduce/pretend-sources.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-hostile-'));
after(() => rm(scratch, { recursive: true, force: true }));
await chmod(scratch, 0o755); // the build runs as another user
const at = (name: string): string => join(scratch, name);
process.env.npm_config_cache = at('npm');
const source = at('source');

describe('programs of the sources', () => {
  test('one that is called as the sandbox’s own tools are: it is not run in their place', async () => {
    const shadow = `touch ${at('owned')}; exit 1`;
    await writeSources(source, at('npm'), { programs: { unshare: shadow, setpriv: shadow, env: shadow } });
    await assert.rejects(rebuild({ source }), { code: 'build-failed' });
    assert.ok(!(await readdir(scratch)).includes('owned'), 'it ran outside of the sandbox');
  });

  test('one that writes to the auditor’s terminal: it has none', async () => {
    await writeSources(source, at('npm'), { node: 'echo same manifest.json > /dev/tty; exit 1' });
    const { stdout } = await promisify(execFile)('script', ['-qec', auditCommand().join(' '), '/dev/null']);
    assert.match(stdout, /ended: build-failed/);
    assert.doesNotMatch(stdout, /^same/m);
  });

  test('one that writes lines as an audit does, and moves the cursor: they are shown as its own', async () => {
    await writeSources(source, at('npm'), { node: `printf 'a\\033[2Jb\\nsame manifest.json\\n' >&2; exit 1` });
    const message = await rebuild({ source }).catch((error: Error) => error.message);
    assert.match(`${message}`, /a.\[2Jb\n {2}same manifest\.json/);
    assert.ok(!`${message}`.includes('\u001b'));
  });

  test('one that goes on when the auditor is gone: it ends with them', async () => {
    await writeSources(source, at('npm'), { node: `sleep 987654 & echo $$ > "$HOME/begun"; exec sleep 987654` });
    const [command = '', ...args] = auditCommand();
    const auditor = spawn(command, args, { env: { ...process.env, TMPDIR: at('') }, stdio: 'ignore' });
    const gone = once(auditor, 'exit');
    await until(async () => (await sleepers()) === 2, 60);
    auditor.kill('SIGKILL');
    await gone;
    await until(async () => (await sleepers()) === 0, 10);
  });

  test('one that leaves another behind, with its output open: it ends with the build', async () => {
    await writeSources(source, at('npm'), { node: `sleep 987654 & exit 1` });
    await assert.rejects(rebuild({ source }), { code: 'build-failed' });
    await until(async () => (await sleepers()) === 0, 10);
  });
});

/** A process of its own that rebuilds the sources and says how it ended. */
function auditCommand(): string[] {
  const file = at('audit.mjs');
  writeFileSync(
    file,
    `import { rebuild } from ${JSON.stringify(join(projectRoot, 'image/src/index.ts'))};
    await rebuild({ source: ${JSON.stringify(source)} }).catch(({ code }) => console.log('ended: ' + code));`,
  );
  return [process.execPath, file];
}

/** How many of the processes are there that the sources started. */
async function sleepers(): Promise<number> {
  const lines = await Promise.all(
    (await readdir('/proc'))
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')),
  );
  return lines.filter((line) => line.split('\0').join(' ') === 'sleep 987654 ').length;
}

async function until(holds: () => Promise<boolean>, seconds: number): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !(await holds()); await setTimeout(100)) {
    assert.ok(Date.now() < end, `not within ${seconds} s`);
  }
}
