/** An attack on one source of the system: tried on the whole one, and on the one without a layer. */

import type { Attack } from './attack.ts';
import { type Edit, type Edits, type Source as Path, weakened } from './weakened.ts';

/** A module, and where its source is below the project's root. */
export interface Source<M> {
  readonly path: Path;
  readonly whole: M;
}

/** An attack of the host on a source. `off` takes the layer out of it. */
export function onSource<M>(
  { path, whole }: Source<M>,
  name: string,
  layer: string,
  off: readonly Edit[] | Edits,
  succeeds: (module: M) => Promise<boolean>,
): Attack {
  return {
    group: 'host',
    name,
    layer,
    attempt: () => succeeds(whole),
    control: async () => succeeds(await import(weakened(path, editsOf(path, off)))),
  };
}

/** Edits of a source itself, if it is not said of which. */
function editsOf(path: Path, off: readonly Edit[] | Edits): Edits {
  return Symbol.iterator in off ? { [path]: off } : off;
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
