/** A module of ours with defences taken out of the sources that it is made of: what a layer is like when it is off. */

import { globSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { importsOf, root, targetOf } from '../../scripts/imports.ts';
import { MAY_IMPORT } from '../../scripts/room-table.ts';
import { type Change, changed, MarkedSource } from './marks.ts';
import { WRITTEN } from './written.ts';

/** The path of a source below the project's root. */
export type Source = `${string}.ts`;

/** What is otherwise in the sources of a module. */
export interface Weakness {
  /** Layers that are off: marks, which say in the sources what off is (`marks.ts`), or what `written.ts` has for them. */
  readonly off?: readonly string[];
  /** Constants, or properties of them, that are made small or large. Each is that of one source that the module reaches. */
  readonly constants?: Readonly<Record<string, number | string>>;
}

/** A version of some modules. Only those are loaded anew that import a changed one, so that all others are shared. */
interface Version {
  readonly changes: ReadonlyMap<string, readonly Change[]>;
  readonly anew: ReadonlySet<string>;
}

const versions: Version[] = [];
const turnedOff = new Set<string>();

registerHooks({
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context);
    const version = versionOf(context.parentURL ?? '');
    const isAnew = version !== undefined && resolved.url.startsWith('file:') && version.anew.has(pathOf(resolved.url));
    return isAnew ? { ...resolved, url: `${resolved.url}?weak=${versions.indexOf(version)}` } : resolved;
  },
  load: (url, context, next) => {
    const loaded = next(url, context);
    const changes = versionOf(url)?.changes.get(pathOf(url));
    return changes === undefined ? loaded : { ...loaded, source: changed(String(loaded.source), changes) };
  },
});

function versionOf(url: string): Version | undefined {
  const at = /^file:[^?]*\?weak=(\d+)$/.exec(url)?.[1];
  return at === undefined ? undefined : versions[Number(at)];
}

/** Below the project's root. */
function pathOf(url: string): string {
  return relative(root, fileURLToPath(new URL(url)));
}

/**
 * The address of a module, for import, that is as `weakness` says, also in what it imports, however far.
 * @throws Error for a mark or constant that is unknown, doubled or in no source that it comes to
 */
export function weakened(entry: Source, weakness: Weakness): string {
  const importers = importersFrom(entry);
  const changes = changesOf(weakness, [...importers.keys()]);
  const anew = new Set<string>();
  const add = (path: string): void => {
    if (anew.has(path)) return;
    anew.add(path);
    importers.get(path)?.forEach(add);
  };
  for (const path of changes.keys()) {
    if (!importers.has(path)) throw new Error(`${entry} does not import ${path}`);
    add(path);
  }
  versions.push({ changes, anew: anew.add(entry) });
  return `${pathToFileURL(join(root, entry))}?weak=${versions.length - 1}`;
}

/** The same of what a weakness has in the sources of a module; the rest is in those of another one. */
export function weakenedPart(entry: Source, { off = [], constants = {} }: Weakness): string {
  const reached = [...importersFrom(entry).keys()];
  return weakened(entry, {
    off: off.filter((layer) => reached.includes(sourceOf(markOf(layer)))),
    constants: Object.fromEntries(
      Object.entries(constants).filter(([name]) => reached.some((path) => hasConstant(path, name))),
    ),
  });
}

/** Weaknesses together. */
export function both(one: Weakness, other: Weakness): Weakness {
  return {
    off: [...(one.off ?? []), ...(other.off ?? [])],
    constants: { ...one.constants, ...other.constants },
  };
}

/** Marks that this process has turned off so far. */
export function marksTurnedOff(): readonly string[] {
  return [...turnedOff];
}

/** The marks of all sources, and where each is. @throws Error where two have one name */
export function allMarks(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const rooms = Object.keys(MAY_IMPORT);
  const paths = rooms.flatMap((room) => globSync(`${room}/src/**/*.ts`, { cwd: root, exclude: ['**/gen/**'] }));
  for (const path of paths.sort()) {
    if (!textOf(path).includes(' layer: ')) continue;
    for (const { name } of marked(path).marks) {
      if (found.has(name)) throw new Error(`the mark ${name} is in ${path}, and in ${found.get(name)}`);
      found.set(name, path);
    }
  }
  return found;
}

let marks: ReadonlyMap<string, string> | undefined;
function sourceOf(mark: string): string {
  marks ??= allMarks();
  const path = marks.get(mark);
  if (path === undefined) throw new Error(`no source has the mark ${mark}`);
  return path;
}

const sources = new Map<string, MarkedSource>();
function marked(path: string): MarkedSource {
  const known = sources.get(path) ?? new MarkedSource(textOf(path));
  sources.set(path, known);
  return known;
}

const texts = new Map<string, string>();
function textOf(path: string): string {
  const known = texts.get(path) ?? readFileSync(join(root, path), 'utf8');
  texts.set(path, known);
  return known;
}

function changesOf({ off = [], constants = {} }: Weakness, reached: readonly string[]): Version['changes'] {
  const changes = new Map<string, Change[]>();
  const add = (path: string, change: Change): void => void changes.set(path, [...(changes.get(path) ?? []), change]);
  for (const layer of off) {
    const path = sourceOf(markOf(layer));
    add(path, offOf(layer, path));
    turnedOff.add(markOf(layer));
  }
  for (const [name, value] of Object.entries(constants)) {
    const paths = reached.filter((path) => hasConstant(path, name));
    const [path] = paths;
    if (path === undefined || paths.length > 1) throw new Error(`${name} is a constant of ${paths.length} sources`);
    const { start, end } = marked(path).constant(name) ?? { start: 0, end: 0 };
    add(path, { start, end, text: JSON.stringify(value) });
  }
  return changes;
}

function markOf(layer: string): string {
  return WRITTEN[layer]?.mark ?? layer;
}

/** The source with a layer off. */
function offOf(layer: string, path: string): Change {
  const mark = marked(path).marks.find(({ name }) => name === markOf(layer));
  if (mark === undefined) throw new Error(`no source has the mark ${layer}`);
  const { start, end } = mark.span;
  const code = WRITTEN[layer]?.code(textOf(path).slice(start, end));
  return code === undefined ? mark.off() : { start, end, text: code };
}

function hasConstant(path: string, name: string): boolean {
  const [constant] = name.split('.');
  if (!new RegExp(`\\bconst ${constant}\\b`).test(textOf(path))) return false;
  return marked(path).constant(name) !== undefined;
}

type Importers = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * By each source that a module imports, however far, and itself: which of them import it. Sources stay as they are while this
 * process runs, and hundreds of controls ask.
 */
function importersFrom(entry: string): Importers {
  const known = graphs.get(entry) ?? graphFrom(entry);
  graphs.set(entry, known);
  return known;
}
const graphs = new Map<string, Importers>();

function graphFrom(entry: string): Importers {
  const importers = new Map<string, Set<string>>([[entry, new Set()]]);
  for (const [path] of importers)
    for (const target of targetsOf(path)) importers.set(target, (importers.get(target) ?? new Set()).add(path));
  return importers;
}

/** Sources of ours that one imports. */
function targetsOf(path: string): readonly string[] {
  const known =
    targets.get(path) ??
    importsOf(path).flatMap((specifier) => {
      const target = targetOf(path, specifier);
      return target?.endsWith('.ts') ? [target] : [];
    });
  targets.set(path, known);
  return known;
}
const targets = new Map<string, readonly string[]>();
