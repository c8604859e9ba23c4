/** `enclaim image lock`: the locked inputs, and what an update would change. */

import { join } from 'node:path';
import { formatLock, projectRoot, readLock, updateLock, writeWhole } from '@enclaim/image';
import type { Command } from 'commander';

interface LockOptions {
  readonly update?: true;
  readonly write?: true;
  readonly mirror?: string[];
  readonly json?: true;
}

export function register(image: Command): void {
  image
    .command('lock')
    .description('list the locked inputs of the base image')
    .option('--update', 'show what the newest versions would change')
    .option('--write', 'with --update: write the lock')
    .option('--mirror <url...>', "Debian mirrors to ask (default: this machine's apt sources)")
    .option('--json', 'inputs, or changes, as JSON')
    .action(async ({ update, write, mirror, json }: LockOptions) => {
      const file = join(projectRoot, 'image/lock.json');
      const lock = await readLock(file);
      if (!update) {
        const inputs = lock.inputs.map(({ name, version }) => ({ name, version }));
        if (json) console.log(JSON.stringify({ inputs }, null, 2));
        else for (const { name, version } of inputs) console.log(`${name} ${version}`);
        return;
      }
      const { lock: next, changes } = await updateLock(lock, mirror === undefined ? {} : { mirrors: mirror });
      if (json) console.log(JSON.stringify({ changes }, null, 2));
      else for (const { name, from, to } of changes) console.log(`${name}\n  from ${from}\n  to   ${to}`);
      if (changes.length === 0 && !json) console.log('nothing changes');
      if (changes.length > 0 && write) await writeWhole(file, formatLock(next.inputs));
    });
}
