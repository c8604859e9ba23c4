/**
 * Counts functions of more than 75 lines (docs/contribute/style.md), in sources and tests. Uniform
 * tables are not counted: a function that ends in a `switch` over kinds or in the return of a
 * literal, and the list of tests that a `describe` holds.
 */

import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { type AnyNode, parse } from 'acorn';
import { root } from './imports.ts';
import { ANYTHING, MAY_IMPORT } from './room-table.ts';

const MAX_LINES = 75;
/** Long functions that there are. The number falls, and never rises. */
const LONG = 0;

const folders = [...Object.keys(MAY_IMPORT).flatMap((room) => [`${room}/src`, `${room}/test`]), ...ANYTHING];
const found = folders
  .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root, exclude: ['**/gen/**', '**/node_modules/**'] }))
  .sort()
  .flatMap(longIn);
if (found.length === LONG)
  console.log(`lengths: ${LONG} functions of more than ${MAX_LINES} lines, no more than before`);
else {
  for (const place of found) console.error(place);
  console.error(`${found.length} functions have more than ${MAX_LINES} lines; scripts/lengths.ts says ${LONG}`);
  process.exitCode = 1;
}

/** The place and length of each long function of a source. */
function longIn(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8');
  if (path.endsWith('.d.ts') || text.split('\n').length <= MAX_LINES) return [];
  const tree = parse(stripTypeScriptTypes(text), { ecmaVersion: 'latest', sourceType: 'module', locations: true });
  return functionsOf(tree, undefined).flatMap(({ node, parent }) => {
    const { start, end } = node.loc ?? {};
    const lines = start === undefined || end === undefined ? 0 : end.line - start.line + 1;
    if (lines <= MAX_LINES || isTable(node) || isDescribed(parent)) return [];
    return [`${path}:${start?.line}: ${lines} lines`];
  });
}

interface Placed {
  readonly node: AnyNode;
  readonly parent: AnyNode | undefined;
}

function functionsOf(node: AnyNode, parent: AnyNode | undefined): Placed[] {
  const below = Object.values(node)
    .flat()
    .filter((each): each is AnyNode => typeof each === 'object' && each !== null && 'type' in each && 'start' in each)
    .flatMap((each) => functionsOf(each, node));
  return /Function/.test(node.type) ? [{ node, parent }, ...below] : below;
}

function isTable(node: AnyNode): boolean {
  if (!('body' in node) || node.body === null || Array.isArray(node.body)) return false;
  if (isLiteral(node.body as AnyNode)) return true;
  const last = node.body.type === 'BlockStatement' ? node.body.body.at(-1) : undefined;
  return (
    last?.type === 'SwitchStatement' || (last?.type === 'ReturnStatement' && isLong(last) && isLiteral(last.argument))
  );
}

function isLiteral(node: AnyNode | null | undefined): boolean {
  return node?.type === 'ObjectExpression' || node?.type === 'ArrayExpression' || node?.type === 'TemplateLiteral';
}

/** Whether a statement is most of what makes its function long. */
function isLong({ loc }: AnyNode): boolean {
  return loc != null && loc.end.line - loc.start.line > MAX_LINES / 2;
}

function isDescribed(parent: AnyNode | undefined): boolean {
  return parent?.type === 'CallExpression' && parent.callee.type === 'Identifier' && parent.callee.name === 'describe';
}
