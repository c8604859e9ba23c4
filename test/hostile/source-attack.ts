/** An attack on one source of the system: tried on the whole one, and on the one without a layer. */

import type { Attack } from './attack.ts';
import { type Source as Path, weakened } from './weakened.ts';

/** A module, and where its source is below the project's root. */
export interface Source<M> {
  readonly path: Path;
  readonly whole: M;
}

/** An attack of the host on a source. `off` are the marks of the layer, and of what stands before it. */
export function onSource<M>(
  { path, whole }: Source<M>,
  name: string,
  layer: string,
  succeeds: (module: M) => Promise<boolean>,
  off: readonly string[] = [layer],
): Attack {
  return {
    group: 'host',
    name,
    layer,
    attempt: () => succeeds(whole),
    control: async () => succeeds(await import(weakened(path, { off }))),
  };
}

/** Whether an action is refused: not refused is what the attacker wants. */
export async function passes(action: () => unknown): Promise<boolean> {
  try {
    await action();
    return true;
  } catch {
    return false;
  }
}
