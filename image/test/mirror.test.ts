/** Any apt sources are read to an end, and versions sort as dpkg sorts them. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { compareVersions } from '../src/inputs/debian-suite.ts';
import { aptMirrors, parseDeb822, parseSourcesList } from '../src/inputs/mirror.ts';

const apt = await mkdtemp(join(tmpdir(), 'enclaim-apt-'));
after(() => rm(apt, { recursive: true, force: true }));

test('one-line sources: options, comments, source packages, no components', () => {
  const sources = parseSourcesList(
    [
      '# deb http://commented.invalid/debian bookworm main',
      'deb http://one.invalid/debian bookworm main contrib # remark',
      'deb [arch=amd64 signed-by=/x y] https://two.invalid/debian/ bookworm-updates main',
      'deb-src http://sources.invalid/debian bookworm main',
      'deb http://flat.invalid/repo ./',
      'nonsense',
    ].join('\n'),
  );
  assert.deepEqual(sources, [
    { uri: 'http://one.invalid/debian', components: ['main', 'contrib'] },
    { uri: 'https://two.invalid/debian/', components: ['main'] },
    { uri: 'http://flat.invalid/repo', components: [] },
  ]);
});

test('deb822 sources: several URIs, continuation lines, disabled and source stanzas', () => {
  const sources = parseDeb822(
    [
      'Types: deb deb-src\nURIs: http://a.invalid/debian http://b.invalid/debian\nSuites: x\nComponents: main',
      '# comment\nTypes: deb\nURIs:\n http://c.invalid/debian\nComponents: main\n contrib',
      'Types: deb\nEnabled: no\nURIs: http://off.invalid/debian\nComponents: main',
      'Types: deb-src\nURIs: http://src.invalid/debian\nComponents: main',
    ].join('\n\n'),
  );
  assert.deepEqual(
    sources.map(({ uri }) => new URL(uri).host),
    ['a.invalid', 'b.invalid', 'c.invalid'],
  );
  assert.deepEqual(sources.at(-1)?.components, ['main', 'contrib']);
});

test('mirrors of a machine: both forms, mirror lists, Debian first, no doubles', async () => {
  await mkdir(join(apt, 'sources.list.d'));
  const list = join(apt, 'mirrors');
  await writeFile(list, 'https://listed.invalid/debian\tpriority:1\n# x\n');
  await writeFile(
    join(apt, 'sources.list'),
    'deb http://node.invalid/repo x main\ndeb http://d.invalid/debian x main\n',
  );
  await writeFile(
    join(apt, 'sources.list.d/a.sources'),
    `Types: deb\nURIs: http://d.invalid/debian/ mirror+file:${list} cdrom:x\nComponents: main\n`,
  );
  await writeFile(join(apt, 'sources.list.d/b.list.disabled'), 'deb http://no.invalid/debian x main\n');
  assert.deepEqual(await aptMirrors(apt), [
    'http://d.invalid/debian/',
    'https://listed.invalid/debian/',
    'http://node.invalid/repo/',
  ]);
  assert.deepEqual(await aptMirrors(join(apt, 'none')), []);
});

test('any text is read to an end', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 500 }), (text) => {
      parseSourcesList(text);
      parseDeb822(text);
    }),
  );
});

test('versions sort as dpkg sorts them', () => {
  // From deb-version(7) and the suites that the lock draws on.
  const ascending = [
    '1.0~~',
    '1.0~~a',
    '1.0~',
    '1.0',
    '1.0-1~bpo12+1',
    '1.0-1',
    '1.0-1+b1',
    '1.0a',
    '1.0+dfsg',
    '1.2',
    '1.10',
    '2:0.1',
  ];
  const shuffled = [...ascending].sort((a, b) => (a < b ? 1 : -1));
  assert.deepEqual(shuffled.sort(compareVersions), ascending);
  assert.ok(compareVersions('257.13-1~deb13u1', '257.13-1') < 0);
  assert.ok(compareVersions('12.2.0-14+deb12u1', '12.2.0-14') > 0);
  assert.equal(compareVersions('1:2.3-4', '1:2.3-4'), 0);
});
