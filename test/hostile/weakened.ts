/** A module of ours with one thing taken out of its source: what a layer is like when it is off. */

import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What is replaced, and by what. It must be there: an edit that changes nothing would make a control of nothing. */
export type Edit = readonly [what: string, instead: string];

const root = join(import.meta.dirname, '../..');
const editsOf = new Map<string, readonly Edit[]>();

registerHooks({
  load: (url, context, next) => {
    const loaded = next(url, context);
    const edits = editsOf.get(url);
    if (edits === undefined) return loaded;
    return { ...loaded, source: edits.reduce((text, edit) => replaced(text, edit), String(loaded.source)) };
  },
});

function replaced(text: string, [what, instead]: Edit): string {
  if (!text.includes(what)) throw new Error(`the source has no ${what}`);
  return text.replaceAll(what, instead);
}

/** The address of a module with edits; `path` is below the project's root. For import, or for an edit of an importer. */
export function weakened(path: string, ...edits: readonly Edit[]): string {
  const url = `${pathToFileURL(join(root, path))}?weak=${editsOf.size}`;
  editsOf.set(url, edits);
  return url;
}
