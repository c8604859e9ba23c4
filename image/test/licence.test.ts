/** Whatever a package states of its licence becomes an SPDX expression, or none. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { debianLicence, npmLicence } from '../src/describe/licence.ts';

const FORMAT = 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n';

const CASES: readonly (readonly [string, string | null, string | null])[] = [
  ['no copyright file', null, null],
  ['prose', 'This program is free software.\nLicense: GPL-2\n', null],
  ['one licence, many times', `${FORMAT}License: GPL-2+\n text\n\nLicense: GPL-2+\n`, 'GPL-2.0-or-later'],
  ['several', `${FORMAT}License: Expat\nLicense: Apache-2.0\n`, 'Apache-2.0 AND MIT'],
  [
    'a choice among several',
    `${FORMAT}License: GPL-2 or BSD-2-clause\nLicense: ISC\n`,
    '(GPL-2.0-only OR BSD-2-Clause) AND ISC',
  ],
  [
    'an exception',
    `${FORMAT}License: GPL-2 with Linux-syscall-note exception\n`,
    'GPL-2.0-only WITH Linux-syscall-note',
  ],
  ['a name that SPDX does not know', `${FORMAT}License: Xen interface!\n`, 'LicenseRef-debian-Xen-interface-'],
  ['a name that every object has', `${FORMAT}License: __proto__\n`, 'LicenseRef-debian--proto-'],
  ['a line that is no name', `${FORMAT}License: ${'x'.repeat(300)}\n`, null],
];

for (const [what, copyright, expected] of CASES) {
  test(`licence of a Debian package: ${what}`, () => assert.equal(debianLicence('sample', copyright), expected));
}

test('packages whose licence was read by us keep it, whatever a file says', () => {
  assert.equal(debianLicence('libc6', null), 'LGPL-2.1-or-later');
  assert.equal(debianLicence('libc6', `${FORMAT}License: Expat\n`), 'LGPL-2.1-or-later');
});

test('a package whose name every object has is like any other', () => {
  assert.equal(debianLicence('constructor', null), null);
});

test('an npm licence is an expression, or none', () => {
  assert.equal(npmLicence('(MIT OR Apache-2.0)'), '(MIT OR Apache-2.0)');
  for (const field of [undefined, null, { type: 'MIT' }, ['MIT'], 'SEE LICENSE IN <file>', '']) {
    assert.equal(npmLicence(field), null);
  }
});

test('whatever a package states, the expression is of words, brackets and operators', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 60 }), { maxLength: 8 }), (names) => {
      const licence = debianLicence('sample', `${FORMAT}${names.map((name) => `License: ${name}\n`).join('')}`);
      assert.match(licence ?? 'MIT', /^[A-Za-z0-9.+() -]+$/);
    }),
  );
});
