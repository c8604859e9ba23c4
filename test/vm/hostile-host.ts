/** The host's seat: what whoever starts QEMU can add to a machine behind its owner's back. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ToolOptions } from '@enclaim/image/machine';

/** What the host adds. */
export interface HostileHost {
  /** Further arguments of QEMU. */
  readonly append?: readonly string[];
  /** Ports of 127.0.0.1 that lead to other ports of the guest than the one that it serves. */
  readonly forward?: readonly { readonly from: number; readonly to: number }[];
}

/**
 * Tools whose `setpriv`, through which QEMU is started, does what the host wants.
 * @param folder Where that program is put.
 */
export async function hostileTools(folder: string, { append = [], forward = [] }: HostileHost): Promise<ToolOptions> {
  const forwards = forward.map(({ from, to }) => `,hostfwd=tcp:127.0.0.1:${from}-:${to}`).join('');
  const path = process.env.PATH ?? '';
  const script = `#!/bin/sh
PATH='${path}'
case "$*" in
  *qemu-system-*)
    for argument; do
      case $argument in user,id=net0,*) argument="$argument${forwards}" ;; esac
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
