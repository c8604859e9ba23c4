/** `npm run watch ROOM`: runs the tests of a room, and again those that a saved file concerns. */

import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { root } from './imports.ts';
import { MAY_IMPORT } from './room-table.ts';

const [, , room = '', ...more] = process.argv;
const files = Object.hasOwn(MAY_IMPORT, room) ? globSync(`${room}/test/**/*.test.ts`, { cwd: root }).sort() : [];
if (files.length === 0 || more.length > 0) {
  console.error(`watch: expected a room with tests: ${Object.keys(MAY_IMPORT).join(', ')}`);
  process.exitCode = 2;
} else {
  const child = spawn(process.execPath, ['--test', '--watch', ...files], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ENCLAIM_TEST_FAST: '1' },
  });
  child.once('close', (status) => {
    process.exitCode = status ?? 0;
  });
}
