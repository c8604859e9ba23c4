/** Tools of a machine whose QEMU is started with other arguments than the machine's own. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ToolOptions } from '@enclaim/image/machine';

/**
 * Tools whose `setpriv`, through which QEMU is started, changes its arguments.
 * @param folder Where that program is put.
 * @param change Lines of a shell that may give `argument`, each in turn, another value.
 * @param append Further arguments.
 * @param inner Tools that start QEMU with the arguments changed so far, if they are wrapped themselves.
 */
export async function wrappedTools(
  folder: string,
  change: string,
  append: readonly string[],
  { path = process.env.PATH ?? '' }: ToolOptions = {},
): Promise<ToolOptions> {
  const script = `#!/bin/sh
PATH='${path}'
case "$*" in
  *qemu-system-*)
    for argument; do
      ${change}
      set -- "$@" "$argument"
      shift
    done
    exec setpriv "$@" ${append.map((word) => `'${word}'`).join(' ')} ;;
  *) exec setpriv "$@" ;;
esac
`;
  await mkdir(folder, { recursive: true });
  const program = join(folder, 'setpriv');
  await writeFile(program, script);
  await chmod(program, 0o755);
  return { path: `${folder}:${path}` };
}
