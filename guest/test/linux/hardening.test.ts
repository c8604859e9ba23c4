/** The table of the kernel's settings: every row is checked, none by its absence, and docs/security/hardening.md is the same table. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMAND_LINE, SETTINGS, STATES, verifyHardening } from '../../src/linux/hardening.ts';

const INTERFACES = ['all', 'default', 'lo', 'eth0'];
const WORDS = COMMAND_LINE.map(([word]) => word).join(' ');

/** Files of a kernel on which every row holds, written with the kernel's own blanks. */
function world(): Map<string, string | null> {
  const files = new Map<string, string | null>([
    ['/proc/cmdline', `enclaim.policy=sha384:00 enclaim.ip=dhcp ${WORDS}\n`],
  ]);
  for (const [what, value] of SETTINGS) {
    for (const path of what.includes('*') ? INTERFACES.map((name) => what.replace('*', name)) : [what])
      files.set(`/proc/sys/${path}`, `${value.replaceAll(' ', '\t')}\n`);
  }
  for (const [what, value] of STATES) {
    const [path = '', ...key] = what.split(' ');
    if (key.length === 0) files.set(path, value === '' ? null : `${value}\n`);
    else files.set(path, `${files.get(path) ?? 'Name:\tnode\n'}${key.join(' ')}\t${value.replaceAll(' ', '   ')}\n`);
  }
  return files;
}

const verify = (files: ReadonlyMap<string, string | null>): number =>
  verifyHardening(
    (path) => files.get(path) ?? null,
    (folder) => (folder.endsWith('/conf') ? INTERFACES : []),
  );

test('a kernel on which every row holds is accepted', () => {
  assert.equal(verify(world()), COMMAND_LINE.length + SETTINGS.length + STATES.length);
  assert.ok(verify(world()) > 75);
});

test('any one file that says something else, nothing, or is not there, is refused', () => {
  let tried = 0;
  for (const [path, text] of world()) {
    for (const other of [null, '', '\n', '2147483647', `${(text ?? '').trimEnd()}1`, 'y']) {
      const files = world().set(path, other);
      // As it was: what is not to be there is not there, or a setting that is empty stays so.
      const same = (other ?? '').trim() === (text ?? '').trim() && (other === null) === (text === null);
      if (same) assert.doesNotThrow(() => verify(files), `${path} "${other}"`);
      else {
        assert.throws(() => verify(files), { name: 'LinuxError', code: 'EPROTO' }, `${path} "${other}"`);
        tried++;
      }
    }
  }
  assert.ok(tried > 400, `${tried}`);
});

test('an interface that came later without the settings is refused', () => {
  const files = world().set('/proc/sys/net/ipv4/conf/eth0/accept_redirects', '1\n');
  assert.throws(() => verify(files), /conf\/eth0\/accept_redirects: EPROTO \(is "1", expected "0"\)/);
});

const lines: readonly (readonly [string, string])[] = [
  ['an empty one', ''],
  ['a word less', WORDS.replace(' lockdown=confidentiality', '')],
  ['a weaker word in its place', WORDS.replace('lockdown=confidentiality', 'lockdown=none')],
  ['a weaker word behind it', `${WORDS} lockdown=none`],
  ['a word twice', `${WORDS} quiet`],
  ['a word that takes back another', `${WORDS} init_on_free=0`],
  ['an environment for PID 1', `${WORDS} NODE_OPTIONS=--inspect=0.0.0.0`],
  ['an argument for PID 1', `${WORDS} -- --eval`],
  ['another init', `${WORDS} rdinit=/usr/bin/node`],
  ['the kernel log on the console', `${WORDS} ignore_loglevel`],
  ['mitigations off', `${WORDS} mitigations=off`],
  ['words joined by a blank that the kernel does not split at', WORDS.replace(' ', '\u00a0')],
];
for (const [name, text] of lines) {
  test(`a command line is refused: ${name}`, () => {
    assert.throws(() => verify(world().set('/proc/cmdline', `${text}\n`)), { code: 'EPROTO', call: '/proc/cmdline' });
  });
}

test('the word that firmware adds to a direct boot is known', () => {
  assert.doesNotThrow(() => verify(world().set('/proc/cmdline', `${WORDS} initrd=initrd\n`)));
});

test('docs/security/hardening.md is this table', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/security/hardening.md'), 'utf8');
  const [tables = ''] = text.split('\n## What the host');
  const documented = tables.split('\n').filter((line) => line.startsWith('| `'));
  const row = (name: string, value: string, reason: string): string =>
    `| \`${name}\` | ${value === '' ? 'nothing' : `\`${value}\``} | ${reason} |`;
  assert.deepEqual(documented, [
    ...COMMAND_LINE.map(([word, reason]) => `| \`${word}\` | ${reason} |`),
    ...SETTINGS.map(([what, value, reason]) => row(what, value, reason)),
    ...STATES.map(([what, value, reason]) => row(what, value === '' ? '' : value, reason)),
  ]);
});
