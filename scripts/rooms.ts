/** Holds the table of who may import whom (docs/architecture.md) against every import in the tree, and refuses cycles. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { importsOf, root, targetOf } from './imports.ts';

/** Rooms and the rooms they may import. `test`, `scripts` and `bench` may import anything and are imported by none. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'policy-schema': [],
  attestation: ['policy-schema'],
  runtime: ['attestation', 'policy-schema'],
  guest: ['runtime', 'attestation', 'policy-schema'],
  image: ['attestation', 'policy-schema'],
  client: ['attestation', 'policy-schema'],
  evidence: ['attestation', 'policy-schema'],
  cli: ['policy-schema', 'attestation', 'runtime', 'guest', 'image', 'client', 'evidence'],
  examples: [],
};
const ANYTHING = ['test', 'scripts', 'bench'];
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
for (const circle of circles([...sources.values()].flat())) problems.push(`circle: ${circle.join(' → ')}`);

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`rooms: imports follow the table in ${rooms.length} rooms, and go round in no circle`);

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

/** Circles of imports, of types too: no file of one can be read without all others. */
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
