/**
 * Holds the table of imports between rooms (docs/contribute/architecture.md) against every import
 * in the tree, and refuses cycles.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { importsOf, root, targetOf } from './imports.ts';
import { ANYTHING, FOLDERS, MAY_IMPORT } from './room-table.ts';

/** Rooms whose code must also run in a browser: no module of Node's own but behind the seam. */
const BROWSER_SAFE = ['policy-schema', 'attestation'];
const SEAMS = ['attestation/src/crypto/node.ts', 'attestation/src/hash/node.ts', 'attestation/src/metered-socket.ts'];

const problems: string[] = [];
const rooms = Object.keys(MAY_IMPORT);
const sources = new Map(rooms.map((room) => [room, sourcesOf(room)]));

for (const [room, paths] of sources) {
  const declared = declaredDependencies(room);
  for (const path of paths) for (const specifier of importsOf(path)) check(room, path, specifier, declared);
}
for (const [room, folders] of Object.entries(FOLDERS)) checkFolders(room, folders);
for (const circle of circles([...sources.values()].flat())) problems.push(`circle: ${circle.join(' → ')}`);

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`rooms: imports follow the table in ${rooms.length} rooms, and the order of their folders`);

function check(room: string, path: string, specifier: string, declared: ReadonlySet<string>): void {
  const inTests = path.startsWith(`${room}/test/`);
  const target = specifier.startsWith('@enclaim/') ? specifier.split('/')[1] : targetOf(path, specifier)?.split('/')[0];
  if (target !== undefined) {
    if (target === room || inTests) return;
    if (ANYTHING.includes(target)) problems.push(`${path}: imports ${target}, which no room may`);
    else if (!MAY_IMPORT[room]?.includes(target))
      problems.push(`${path}: ${room} may not import ${target} (${specifier})`);
    else if (specifier.startsWith('.')) problems.push(`${path}: reaches into ${target} by path (${specifier})`);
    else if (!declared.has(`@enclaim/${target}`))
      problems.push(`${path}: ${room}/package.json does not name @enclaim/${target}`);
    return;
  }
  if (specifier.startsWith('node:')) {
    if (BROWSER_SAFE.includes(room) && !inTests && !SEAMS.includes(path))
      problems.push(`${path}: ${specifier} in a room that runs in browsers`);
  } else if (!specifier.startsWith('#') && !inTests && !declared.has(packageOf(specifier))) {
    problems.push(`${path}: ${room}/package.json does not name ${packageOf(specifier)}`);
  }
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function declaredDependencies(room: string): ReadonlySet<string> {
  try {
    const { dependencies = {} } = JSON.parse(readFileSync(join(root, room, 'package.json'), 'utf8'));
    return new Set(Object.keys(dependencies));
  } catch {
    return new Set();
  }
}

function sourcesOf(room: string): string[] {
  return readdirSync(join(root, room), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes('/node_modules/') && !path.includes('/gen/'));
}

/**
 * Holds the order of a room's folders against what their files import, also by way of files beside
 * them.
 */
function checkFolders(room: string, folders: readonly string[]): void {
  const base = `${room}/src/`;
  const known = sources.get(room)?.filter((path) => path.startsWith(base)) ?? [];
  const folderOf = (path: string): string => path.slice(base.length).split('/').slice(0, -1).join('/');
  for (const folder of new Set(known.map(folderOf)))
    if (folder !== '' && !folders.includes(folder)) problems.push(`${base}${folder}: has no place among the folders`);
  const below = (path: string, seen: Set<string>): string[] => {
    if (seen.has(path)) return [];
    seen.add(path);
    return importsOf(path).flatMap((specifier) => {
      const target = targetOf(path, specifier);
      if (target === undefined || !known.includes(target)) return [];
      return folderOf(target) === '' ? below(target, seen) : [target];
    });
  };
  for (const path of known) {
    const folder = folderOf(path);
    if (folder === '') continue;
    for (const target of below(path, new Set())) {
      const other = folderOf(target);
      if (other !== folder && folders.indexOf(other) < folders.indexOf(folder))
        problems.push(`${path}: ${folder} may not import ${other}, which is above it (${target})`);
    }
  }
}

/** Circles of imports, of types too. No file of one can be read without all the rest. */
function circles(paths: readonly string[]): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) {
      found.push([...way.slice(way.indexOf(path)), path]);
      return;
    }
    if (done.has(path)) return;
    for (const specifier of importsOf(path)) {
      const target = targetOf(path, specifier);
      if (target?.endsWith('.ts') && !target.endsWith('.d.ts')) visit(target, [...way, path]);
    }
    done.add(path);
  };
  for (const path of paths) visit(path, []);
  return found;
}
