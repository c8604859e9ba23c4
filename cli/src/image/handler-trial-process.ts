/** A trial of handlers, in a process of its own: they are loaded once as a worker would, and their author is told what came of it. */

import { openRealm } from '@enclaim/runtime/realm';

/** What a trial found: the names of the handlers, null where the bundle exports none; or what the bundle threw. */
export type TrialResult = { readonly names: readonly string[] | null } | { readonly threw: string };

/** Characters of an author's own error that are told. */
const MOST_TOLD = 1000;

async function main(): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  process.stdout.write(JSON.stringify(loadOnce(Buffer.concat(chunks).toString())));
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

/** Its own words, which are an object of the realm: this process has nothing that it could take, and says nothing else. */
function told(thrown: unknown): string {
  try {
    return String(thrown).slice(0, MOST_TOLD);
  } catch {
    return 'something without a text';
  }
}

await main();
