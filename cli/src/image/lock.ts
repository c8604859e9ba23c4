/** `enclaim image lock`: the locked inputs, and what an update would change. */

import { join } from 'node:path';
import { formatLock, projectRoot, readLock, updateLock, writeWhole } from '@enclaim/image';
import type { Command } from 'commander';

interface LockOptions {
  readonly update?: true;
  readonly write?: true;
  readonly mirror?: string[];
}

export function register(image: Command): void {
  image
    .command('lock')
    .description('list the locked inputs of the base image')
    .option('--update', 'show what the newest versions would change')
    .option('--write', 'with --update: write the lock')
    .option('--mirror <url...>', "Debian mirrors to ask (default: this machine's apt sources)")
    .action(async ({ update, write, mirror }: LockOptions) => {
      const file = join(projectRoot, 'image/lock.json');
      const lock = await readLock(file);
      if (!update) {
        for (const { name, version } of lock.inputs) console.log(`${name} ${version}`);
        return;
      }
      const { lock: next, changes } = await updateLock(lock, mirror === undefined ? {} : { mirrors: mirror });
      for (const { name, from, to } of changes) console.log(`${name}\n  from ${from}\n  to   ${to}`);
      if (changes.length === 0) console.log('nothing changes');
      else if (write) await writeWhole(file, formatLock(next.inputs));
    });
}
