/**
 * A trial of handlers, in a process of its own. It loads them once as a worker would, and tells
 * their author the outcome.
 */

import { runInThisContext } from 'node:vm';
import { openRealm } from '@enclaim/runtime/realm';

/**
 * The outcome of a trial: the names of the handlers, null if the bundle exports none; or the text
 * of the error that the bundle threw.
 */
export type TrialResult = { readonly names: readonly string[] | null } | { readonly threw: string };

/** Characters of an author's own error that are told. */
const MAX_TOLD_CHARS = 1000;
/**
 * Milliseconds that a load may take. Beside other work a machine may take a hundred times as long
 * as alone.
 *
 * **Bound**: the engine holds this limit also if the process that asked was killed meanwhile.
 */
const MAX_LOAD_MS = 120_000;

async function main(): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  process.stdout.write(JSON.stringify(bounded(() => loadOnce(Buffer.concat(chunks).toString()))));
}

/** Does it, and ends whatever code of the author it runs once that takes too long. */
function bounded(load: () => TrialResult): TrialResult {
  Object.assign(globalThis, { enclaimTrial: load });
  try {
    return runInThisContext('enclaimTrial()', { timeout: MAX_LOAD_MS });
  } catch {
    return { threw: `they did not end within ${MAX_LOAD_MS / 1000} s` };
  }
}

function loadOnce(code: string): TrialResult {
  let thrown: unknown;
  try {
    const names: unknown = openRealm(code, [], {
      threw: (what) => {
        thrown = what;
      },
    }).names();
    return { names: JSON.parse(String(names)) };
  } catch (error) {
    return { threw: told(thrown ?? error) };
  }
}

/**
 * The text of what the bundle threw. **Trust**: that is an object of the realm, whose code may run
 * here. This process has nothing that it could take, and writes nothing else.
 */
function told(thrown: unknown): string {
  try {
    return String(thrown).slice(0, MAX_TOLD_CHARS);
  } catch {
    return 'something without a text';
  }
}

await main();
