/** Licences as packages state them, as SPDX expressions (SPDX 3.0.1, annex B). */

/** Debian's short names (copyright format 1.0) that SPDX spells differently. */
const DEBIAN_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'bsd-2-clause': 'BSD-2-Clause',
    'bsd-3-clause': 'BSD-3-Clause',
    'bsd-4-clause': 'BSD-4-Clause',
    expat: 'MIT',
    'gpl-1+': 'GPL-1.0-or-later',
    'gpl-2': 'GPL-2.0-only',
    'gpl-2+': 'GPL-2.0-or-later',
    'gpl-2+-or-x11': 'GPL-2.0-or-later OR X11',
    'gpl-2 with linux-syscall-note exception': 'GPL-2.0-only WITH Linux-syscall-note',
    'gpl-3': 'GPL-3.0-only',
    'gpl-3+': 'GPL-3.0-or-later',
    'lgpl-2.1': 'LGPL-2.1-only',
    'lgpl-2.1+': 'LGPL-2.1-or-later',
  }),
);
/** Licences that Debian spells as SPDX does. */
const SPDX_NAMES: readonly string[] = ['0BSD', 'Apache-2.0', 'CC0-1.0', 'ISC', 'MIT', 'OpenSSL', 'X11', 'Zlib'];

/**
 * Licences of packages whose copyright file is prose, or in another package: we read what it says
 * of the files that the image takes.
 */
const READ_BY_US: ReadonlyMap<string, string> = new Map(
  Object.entries({
    libatomic1: 'GPL-3.0-or-later WITH GCC-exception-3.1',
    libc6: 'LGPL-2.1-or-later',
    'libgcc-s1': 'GPL-3.0-or-later WITH GCC-exception-3.1',
    'libstdc++6': 'GPL-3.0-or-later WITH GCC-exception-3.1',
  }),
);

/**
 * The licence of a Debian package: all that its copyright file names, if that is in the
 * machine-readable format.
 * **Trust**: it is the licence of the source package, which holds more than this binary.
 * @param copyright - Null if the package has no such file.
 * @returns Null if no licence is stated.
 */
export function debianLicence(name: string, copyright: string | null): string | null {
  const known = READ_BY_US.get(name);
  if (known !== undefined) return known;
  if (copyright === null || !/^Format: /.test(copyright)) return null;
  const stated = new Set([...copyright.matchAll(/^License: (.{1,200})$/gm)].map(([, text = '']) => expressionOf(text)));
  const all = [...stated].sort();
  if (all.length <= 1) return all[0] ?? null;
  return all.map((one) => (one.includes(' OR ') ? `(${one})` : one)).join(' AND ');
}

/**
 * The licence field of an npm package, which is an SPDX expression already. Null for another form.
 */
export function npmLicence(field: unknown): string | null {
  return typeof field === 'string' && /^[A-Za-z0-9.+() -]{1,200}$/.test(field) ? field : null;
}

function expressionOf(stated: string): string {
  const text = stated.trim();
  const known = DEBIAN_NAMES.get(text.toLowerCase()) ?? SPDX_NAMES.find((name) => name === text);
  if (known !== undefined) return known;
  const choices = text.split(' or ');
  if (choices.length > 1) return choices.map(expressionOf).join(' OR ');
  return `LicenseRef-debian-${text.replaceAll(/[^A-Za-z0-9.]+/g, '-')}`;
}
