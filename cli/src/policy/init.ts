/** `enclaim init`: a new app that works. */

import { mkdir, open, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { APP_MADE } from '@enclaim/image';
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
      const files = new Map(await scaffold({ name, owner, contact }));
      await refuseToOverwrite(folder, [...files.keys()]);
      const ignored = await exists(join(folder, IGNORED));
      if (!ignored) files.set(IGNORED, APP_MADE.map((line) => `${line}\n`).join(''));
      await writeAll(folder, files);
      for (const path of files.keys()) console.log(join(folder, path));
      if (ignored) console.error(`${join(folder, IGNORED)} is there already: let it have ${APP_MADE.join(', ')}`);
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

const IGNORED = '.gitignore';

/** All or nothing: what is there in part could neither be used nor be made anew. */
async function writeAll(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  const root = resolve(folder);
  const written: string[] = [];
  const made = await mkdir(root, { recursive: true });
  try {
    for (const [path, content] of files) {
      const file = join(root, path);
      await mkdir(dirname(file), { recursive: true });
      const handle = await open(file, 'wx');
      written.push(file);
      await handle.writeFile(content).finally(() => handle.close());
    }
  } catch (cause) {
    for (const file of written) await rm(file, { force: true });
    for (const path of files.keys()) await removeEmpty(dirname(join(root, path)), root);
    if (made !== undefined) await removeEmpty(root, dirname(made));
    throw new UsageError(`${(cause as NodeJS.ErrnoException).path ?? written.at(-1)} cannot be written: ${cause}`, {
      cause,
    });
  }
}

/** Removes folders that hold nothing, up to one that stays. */
async function removeEmpty(from: string, stays: string): Promise<void> {
  for (let at = from; at !== stays && at.length > stays.length; at = dirname(at))
    if (
      !(await rmdir(at).then(
        () => true,
        () => false,
      ))
    )
      return;
}

/**
 * Refuses to write if one of the files is there already: an app with only half of its files from
 * here would check as neither app.
 */
async function refuseToOverwrite(folder: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (await exists(join(folder, path)))
      throw new UsageError(`${join(folder, path)} is there already; nothing was written`);
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
