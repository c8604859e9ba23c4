/** Rooms that a change concerns: those with changed files, and every room above them. */

import { spawnSync } from 'node:child_process';
import { root } from './imports.ts';
import { MAY_IMPORT, withThoseAbove } from './room-table.ts';

/** Files at the root, or folders there, on which no test of a room rests. */
const BESIDE = /^(?:docs\/|bench\/|\.ci\/|[^/]*\.md$|[^/]*\.yaml$|LICENSE$|\.gitignore$)/;
/** Suites that are no part of the check. What the tests of rooms share is not among them. */
const SUITES = /^test\/(?!support\/|vectors\/|fakes\/)/;

/**
 * Rooms whose tests a change of these paths concerns. A path that is in no room, and that is not
 * known to be beside the point, concerns them all.
 */
export function roomsOfChange(paths: readonly string[]): string[] {
  const rooms = new Set<string>();
  for (const path of paths) {
    const room = path.split('/')[0] ?? '';
    if (Object.hasOwn(MAY_IMPORT, room) && path.includes('/')) rooms.add(room);
    else if (!BESIDE.test(path) && !SUITES.test(path)) return Object.keys(MAY_IMPORT);
  }
  return withThoseAbove(rooms);
}

/**
 * Paths that differ from where this branch left main (on main itself, from its last commit), those
 * that are not committed or not known to git included.
 */
export function changedPaths(): string[] {
  const base = git('merge-base', 'HEAD', 'main') ?? git('merge-base', 'HEAD', 'origin/main') ?? ['HEAD'];
  const changed = git('diff', '--name-only', '--no-renames', base[0] ?? 'HEAD');
  const added = git('ls-files', '--others', '--exclude-standard');
  if (changed === null || added === null) throw new Error('--changed asks git what changed, and this is no checkout');
  return [...new Set([...changed, ...added])].sort();
}

function git(...words: string[]): string[] | null {
  const { status, stdout } = spawnSync('git', words, { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').filter((line) => line !== '') : null;
}
