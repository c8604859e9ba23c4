/**
 * The worker's program on its author's machine. It also reports, on standard error, what a handler
 * threw and wrote.
 */

import { writeSync } from 'node:fs';
import { openRealm } from '../worker/process/realm.ts';
import { serveWorker } from '../worker/process/serve.ts';
import type { AuthorNote } from '../worker/realm/author-notes.ts';

const STDERR = 2;
const MAX_NOTE_TEXT = 16_384;

function tell(notes: string): void {
  if (notes !== '') writeSync(STDERR, notes);
}

/**
 * Reports what a bundle threw while it loaded. This is an object of the realm, and reading its text
 * may throw too.
 */
function threwAtLoad(thrown: unknown): void {
  let text = 'something without a text';
  try {
    const { stack } = thrown as Error;
    text = String(stack || thrown).slice(0, MAX_NOTE_TEXT);
  } catch {
    // The text stays as it is.
  }
  tell(`${JSON.stringify({ kind: 'threw', method: 'the handlers, as they load', text } satisfies AuthorNote)}\n`);
}

serveWorker((code, methods) => {
  const { notes, take, ...realm } = openRealm(code, methods, { author: true, threw: threwAtLoad });
  return {
    ...realm,
    take: () => {
      tell(String(notes()));
      return take();
    },
  };
});
