/** Holds the table of who may import whom (docs/architecture.md) against every import in the tree, and refuses cycles. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

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

const root = join(import.meta.dirname, '..');
const problems: string[] = [];

for (const room of Object.keys(MAY_IMPORT)) {
  const declared = declaredDependencies(room);
  for (const file of sourcesOf(room)) {
    for (const specifier of importsOf(file)) check(room, file, specifier, declared);
  }
}
checkCycles();

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`rooms: imports follow the table in ${Object.keys(MAY_IMPORT).length} rooms`);

function check(room: string, file: string, specifier: string, declared: ReadonlySet<string>): void {
  const name = relative(root, file);
  const inTests = name.startsWith(`${room}/test/`);
  const target = targetRoom(file, specifier);
  if (target !== undefined) {
    if (target === room || inTests) return;
    if (ANYTHING.includes(target)) problems.push(`${name}: imports ${target}, which nobody may`);
    else if (!MAY_IMPORT[room]?.includes(target))
      problems.push(`${name}: ${room} may not import ${target} (${specifier})`);
    else if (specifier.startsWith('.')) problems.push(`${name}: reaches into ${target} by path (${specifier})`);
    else if (!declared.has(`@enclaim/${target}`))
      problems.push(`${name}: ${room}/package.json does not name @enclaim/${target}`);
    return;
  }
  if (specifier.startsWith('node:')) {
    if (BROWSER_SAFE.includes(room) && !inTests && !SEAMS.includes(name))
      problems.push(`${name}: ${specifier} in a room that runs in browsers`);
  } else if (
    !specifier.startsWith('.') &&
    !specifier.startsWith('#') &&
    !inTests &&
    !declared.has(packageOf(specifier))
  ) {
    problems.push(`${name}: ${room}/package.json does not name ${packageOf(specifier)}`);
  }
}

/** The room of ours that a specifier leads to, if any. */
function targetRoom(file: string, specifier: string): string | undefined {
  if (specifier.startsWith('@enclaim/')) return specifier.split('/')[1];
  if (!specifier.startsWith('.')) return undefined;
  return relative(root, resolve(dirname(file), specifier)).split('/')[0];
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
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes('/node_modules/') && !path.includes('/gen/'));
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const forms =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*'([^']+)'|(?:^|\n)\s*import\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;
  return [...text.matchAll(forms)].map(([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? '');
}

/** A cycle between files of one room: neither can be read, or loaded, without the other. */
function checkCycles(): void {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      const cycle = [...path.slice(path.indexOf(file)), file].map((each) => relative(root, each));
      problems.push(`cycle: ${cycle.join(' → ')}`);
      return;
    }
    if (done.has(file)) return;
    for (const specifier of valueImportsOf(file)) {
      if (specifier.startsWith('.') && specifier.endsWith('.ts'))
        visit(resolve(dirname(file), specifier), [...path, file]);
    }
    done.add(file);
  };
  for (const room of Object.keys(MAY_IMPORT)) for (const file of sourcesOf(room)) visit(file, []);
}

/** Imports that remain at run time: a cycle of types alone is none. */
function valueImportsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8').replace(/(?:^|\n)\s*(?:import|export)\s+type\b[^;]*;/g, '\n');
  const forms = /(?:^|\n)\s*(?:import|export)\b([^'"`;]*?)from\s*'([^']+)'/g;
  return [...text.matchAll(forms)]
    .filter(([, names = '']) => !/^\s*\{(\s*type\s+[^,}]+,?)+\s*\}\s*$/.test(names))
    .map(([, , from = '']) => from);
}
