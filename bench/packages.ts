/**
 * `node bench/packages.ts`: packages that work in handlers, and their cost.
 *
 * It installs them into a folder of its own, bundles each as `enclaim bundle` does, and calls it in
 * a worker. It fails if one does otherwise than the table says.
 */

import { execFileSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openLab } from '../test/support/lab.ts';
import { bundleUse, PACKAGE_USES, type PackageOutcome, type PackageUse, saysInNode } from '../test/support/packages.ts';
import { scratchFolder } from './scratch.ts';

const NPM = join(import.meta.dirname, '../scripts/bootstrap/node_modules/npm/bin/npm-cli.js');
const CALLS = 200;

const folder = await scratchFolder();
let surprises = 0;
try {
  const dependencies = Object.fromEntries(PACKAGE_USES.map(({ name, version }) => [name, version]));
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  execFileSync(process.execPath, [NPM, 'install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder });
  for (const use of PACKAGE_USES) {
    const { outcome, detail } = await tried(use);
    if (outcome !== use.outcome) surprises++;
    const said = outcome === use.outcome ? outcome : `${outcome}, NOT ${use.outcome}`;
    console.log(`${`${use.name} ${use.version}`.padEnd(28)}  ${said.padEnd(10)}  ${detail}`);
  }
} finally {
  await rm(folder, { recursive: true });
}
console.log(`${PACKAGE_USES.filter(({ outcome }) => outcome === 'works').length} of ${PACKAGE_USES.length} work`);
process.exit(surprises === 0 ? 0 : 1);

async function tried(use: PackageUse): Promise<{ outcome: PackageOutcome; detail: string }> {
  let code: string;
  try {
    code = await bundleUse(folder, use);
  } catch (error) {
    return { outcome: 'refused', detail: (error as Error).message.slice(0, 100) };
  }
  try {
    const lab = await openLab({ handlers: code });
    try {
      const first = await lab.call('Sum', { key: 'k' });
      const [message] = first.messages as { word?: string }[];
      const expected = await saysInNode(code);
      if (message?.word !== expected)
        return { outcome: 'throws', detail: `${message?.word ?? first.message}, in Node ${expected}` };
      const times: number[] = [];
      for (let call = 0; call < CALLS; call++) {
        const began = performance.now();
        await lab.call('Sum', { key: 'k' });
        times.push((performance.now() - began) * 1000);
      }
      const median = times.sort((a, b) => a - b)[CALLS >> 1] ?? 0;
      return { outcome: 'works', detail: `${Math.ceil(code.length / 1024)} KiB, ${median.toFixed(0)} µs` };
    } finally {
      lab.close();
    }
  } catch (error) {
    return { outcome: 'throws', detail: (error as Error).message.slice(0, 100) };
  }
}
