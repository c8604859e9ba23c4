/** Sources whose build would rather own the auditor than be audited: what it pins, says and leaves behind gets it nowhere. */

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { rebuild } from '../image/src/index.ts';
import { writeSources } from './reproduce/pretend-sources.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-hostile-'));
after(() => rm(scratch, { recursive: true, force: true }));
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
});
