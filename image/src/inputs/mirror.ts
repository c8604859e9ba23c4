/**
 * Debian mirrors as this machine's apt knows them: sources.list(5), one-line and deb822 form, and
 * mirror lists.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One usable line or stanza: where packages are, and for which components. */
export interface AptSource {
  readonly uri: string;
  readonly components: readonly string[];
}

/**
 * Reads the one-line form (`deb [options] uri suite component…`). The parser is total: it skips a
 * line of another form.
 */
export function parseSourcesList(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const found = /^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+\S+\s*([^#]*)/.exec(line);
    return found ? [{ uri: found[1] ?? '', components: words(found[2]) }] : [];
  });
}

/**
 * Reads the deb822 form (`Types:`, `URIs:`, `Components:` stanzas). The parser is total: it skips a
 * stanza that offers no binaries.
 */
export function parseDeb822(text: string): AptSource[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = deb822Fields(stanza);
    if (fields.get('enabled') === 'no' || !words(fields.get('types')).includes('deb')) return [];
    const components = words(fields.get('components'));
    return words(fields.get('uris')).map((uri) => ({ uri, components }));
  });
}

/**
 * Fields of one deb822 stanza by lower-case name; continuation lines are joined, comments dropped.
 */
export function deb822Fields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = '';
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue;
    const found = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
    if (found) {
      last = (found[1] ?? '').toLowerCase();
      fields.set(last, found[2] ?? '');
    } else if (/^\s/.test(line) && last !== '') fields.set(last, `${fields.get(last)} ${line.trim()}`);
  }
  return fields;
}

/**
 * Mirror bases named by apt under `directory`, likely ones first. Empty if there is no apt.
 *
 * **Trust**: it does not matter which of them answers, because every fetched input must have its
 * locked hash.
 */
export async function aptMirrors(directory = '/etc/apt'): Promise<string[]> {
  const parts = await readdir(join(directory, 'sources.list.d')).catch(() => []);
  const files = ['sources.list', ...parts.sort().map((name) => join('sources.list.d', name))];
  const sources = (
    await Promise.all(
      files.map(async (name) => {
        const text = await readFile(join(directory, name), 'utf8').catch(() => '');
        if (name.endsWith('.sources')) return parseDeb822(text);
        return name.endsWith('.list') ? parseSourcesList(text) : [];
      }),
    )
  ).flat();
  const bases = await Promise.all(
    sources.filter((source) => source.components.includes('main')).map((source) => basesOf(source.uri)),
  );
  return [...new Set(bases.flat())].sort((a, b) => Number(isDebian(b)) - Number(isDebian(a)));
}

/** Debian's cloud images name a file with one mirror on each line. */
async function basesOf(uri: string): Promise<string[]> {
  if (/^https?:\/\//.test(uri)) return [uri.replace(/\/*$/, '/')];
  if (!uri.startsWith('mirror+file:/')) return [];
  const list = await readFile(uri.replace(/^mirror\+file:\/*/, '/'), 'utf8').catch(() => '');
  return list
    .split('\n')
    .flatMap((line) => (/^https?:\/\//.test(line) ? [`${line.split(/\s/)[0]}`.replace(/\/*$/, '/')] : []));
}

function isDebian(base: string): boolean {
  return /\/debian\/$/.test(base);
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}
