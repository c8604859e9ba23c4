/**
 * `node scripts/reference.ts`: writes docs/reference/command-line.md from the help of the commands.
 * `--check` fails if the page says something else.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandReference } from '../cli/src/manual/markdown.ts';
import { makeProgram } from '../cli/src/program.ts';
import { root } from './imports.ts';

const PAGE = 'docs/reference/command-line.md';
const made = commandReference(await makeProgram());
if (!process.argv.includes('--check')) writeFileSync(join(root, PAGE), made);
else if (readFileSync(join(root, PAGE), 'utf8') !== made) {
  console.error(`reference: ${PAGE} is not what the commands' help says (npm run generate)`);
  process.exitCode = 1;
}
