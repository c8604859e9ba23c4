/** A module of ours with something taken out of the sources that it is made of: what a layer is like when it is off. */

import { registerHooks } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { importsOf, root, targetOf } from '../../scripts/imports.ts';

/** What is replaced, and by what. It must be there: an edit that changes nothing would make a control of nothing. */
export type Edit = readonly [what: string, instead: string];
/** The path of a source below the project's root. */
export type Source = `${string}.ts`;
/** What is changed in which source. */
export type Edits = Readonly<Record<Source, readonly Edit[]>>;

/** A version of some modules. Only those are loaded anew that import an edited one, so that all others are shared. */
interface Weakness {
  readonly edits: ReadonlyMap<string, readonly Edit[]>;
  readonly anew: ReadonlySet<string>;
}

const weaknesses: Weakness[] = [];

registerHooks({
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context);
    const weakness = weaknessOf(context.parentURL ?? '');
    const isAnew =
      weakness !== undefined && resolved.url.startsWith('file:') && weakness.anew.has(pathOf(resolved.url));
    return isAnew ? { ...resolved, url: `${resolved.url}?weak=${weaknesses.indexOf(weakness)}` } : resolved;
  },
  load: (url, context, next) => {
    const loaded = next(url, context);
    const edits = weaknessOf(url)?.edits.get(pathOf(url));
    return edits === undefined ? loaded : { ...loaded, source: edits.reduce(replaced, String(loaded.source)) };
  },
});

function weaknessOf(url: string): Weakness | undefined {
  const at = /^file:[^?]*\?weak=(\d+)$/.exec(url)?.[1];
  return at === undefined ? undefined : weaknesses[Number(at)];
}

/** Below the project's root. */
function pathOf(url: string): string {
  return relative(root, fileURLToPath(new URL(url)));
}

function replaced(text: string, [what, instead]: Edit): string {
  if (!text.includes(what)) throw new Error(`the source has no ${what}`);
  return text.replaceAll(what, instead);
}

/**
 * The address of a module, for import, whose edits are those of `edits`, also in what it imports, however far.
 * @throws Error where it does not come to an edited source
 */
export function weakened(entry: Source, edits: Edits): string {
  const importers = importersFrom(entry);
  const anew = new Set<string>();
  const add = (path: string): void => {
    if (anew.has(path)) return;
    anew.add(path);
    importers.get(path)?.forEach(add);
  };
  for (const path of Object.keys(edits)) {
    if (!importers.has(path)) throw new Error(`${entry} does not import ${path}`);
    add(path);
  }
  weaknesses.push({ edits: new Map(Object.entries(edits)), anew: anew.add(entry) });
  return `${pathToFileURL(join(root, entry))}?weak=${weaknesses.length - 1}`;
}

/** By each source that a module imports, however far, and itself: which of them import it. */
function importersFrom(entry: string): ReadonlyMap<string, ReadonlySet<string>> {
  const importers = new Map<string, Set<string>>([[entry, new Set()]]);
  for (const [path] of importers) {
    for (const specifier of importsOf(path)) {
      const target = targetOf(path, specifier);
      if (target === undefined || !target.endsWith('.ts')) continue;
      importers.set(target, (importers.get(target) ?? new Set()).add(path));
    }
  }
  return importers;
}
