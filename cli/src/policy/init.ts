/** `enclaim init`: a new app that works. */

import { mkdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../usage-error.ts';
import { scaffold } from './scaffold.ts';

interface InitOptions {
  readonly name?: string;
  readonly owner: string;
  readonly contact?: string;
}

/** Adds `enclaim init`. */
export function register(program: Command): void {
  program
    .command('init')
    .description('make a new app: a policy with tests, a .proto file and handlers')
    .argument('[folder]', 'where; made if it is not there', '.')
    .option('--name <name>', 'name of the system (default: that of the folder)')
    .option('--owner <name>', 'who answers for it', 'Unnamed Owner')
    .option('--contact <address>', 'how to reach them (default: privacy@<name>.example)')
    .action(async (folder: string, options: InitOptions) => {
      const name = options.name ?? nameOf(folder);
      if (!/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/.test(name))
        throw new UsageError(`--name ${name}: expected lower-case words joined by -`);
      const { owner, contact = `privacy@${name}.example` } = options;
      const files = await scaffold({ name, owner, contact });
      await refuseToOverwrite(folder, [...files.keys()]);
      for (const [path, content] of files) {
        await mkdir(dirname(join(folder, path)), { recursive: true });
        await writeFile(join(folder, path), content, { flag: 'wx' });
        console.log(join(folder, path));
      }
    });
}

function nameOf(folder: string): string {
  const words =
    basename(resolve(folder))
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? [];
  const name = words.join('-').replace(/^[^a-z]+/, '');
  return name === '' ? 'app' : name;
}

/** All or nothing: an app of which half the files are somebody else's would check as neither. */
async function refuseToOverwrite(folder: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const exists = await stat(join(folder, path)).then(
      () => true,
      () => false,
    );
    if (exists) throw new UsageError(`${join(folder, path)} is there already; nothing was written`);
  }
}
