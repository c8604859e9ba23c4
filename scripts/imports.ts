/** Imports between the sources of this project, by their paths below its root. */

import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

/** The project's root. */
export const root: string = join(import.meta.dirname, '..');

/** Imports of a source, types included, as they are written there. */
export function importsOf(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8');
  const forms =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;
  return [...text.matchAll(forms)].map(([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? '');
}

/** The source of ours that an import leads to, undefined if it leads out of this project. */
export function targetOf(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return relative(root, resolve(root, dirname(path), specifier));
  const [scope, room, ...rest] = specifier.split('/');
  if (scope !== '@enclaim' || room === undefined) return undefined;
  const entry = exportsOf(room)[['.', ...rest].join('/')];
  return entry === undefined ? undefined : join(room, entry);
}

const packages = new Map<string, Readonly<Record<string, string>>>();
function exportsOf(room: string): Readonly<Record<string, string>> {
  const known = packages.get(room) ?? JSON.parse(readFileSync(join(root, room, 'package.json'), 'utf8')).exports ?? {};
  packages.set(room, known);
  return known;
}
