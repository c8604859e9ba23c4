/**
 * Texts for the author of handlers while they run: errors and console, with their places in the
 * sources.
 */

import { SourceMap } from 'node:module';
import { RefusalError } from '@enclaim/runtime';
import type { AuthorNote } from '@enclaim/runtime/dev';
import { printable } from '../printable.ts';

/** A frame of the engine's stacks whose place is in the compiled bundle. */
const IN_BUNDLE = /app:handlers:(\d{1,9}):(\d{1,9})/g;
/** A frame that is none of the author's: the realm's own code, or Node's. */
const ELSEWHERE = /^\s+at .*(enclaim:realm|node:)/;
const MAX_LINES = 60;

/** Places of compiled handlers, as places of their sources. */
export class SourcePlaces {
  readonly #map: SourceMap;

  /** @param map a source map as JSON */
  constructor(map: string) {
    this.#map = new SourceMap(JSON.parse(map));
  }

  /** A stack with places in the author's own files. */
  rewrite(stack: string): string {
    const lines = stack.split('\n').filter((line) => !ELSEWHERE.test(line));
    return lines
      .slice(0, MAX_LINES)
      .map((line) =>
        line.replace(IN_BUNDLE, (_, row: string, column: string) => this.#place(Number(row), Number(column))),
      )
      .join('\n');
  }

  #place(row: number, column: number): string {
    const entry = this.#map.findEntry(row - 1, column - 1);
    if (!('originalSource' in entry)) return `compiled handlers:${row}:${column}`;
    return `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  }
}

/**
 * A note as lines for a terminal. No handler's text can pass for a line of this command, because
 * those all begin otherwise.
 */
export function shownNote(note: AuthorNote, places: SourcePlaces): string {
  const text = places.rewrite(note.text).split('\n').map(printable).join('\n  | ');
  return note.kind === 'threw'
    ? `  | threw in ${printable(note.method)}\n  | ${text}`
    : `  | ${printable(note.level)}: ${text}`;
}

/** Why a call failed, as its author may know it. A caller is told the id alone. */
export function shownFailure(method: string, error: unknown, id: string): string {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const why = error instanceof RefusalError && cause instanceof Error ? `${message}: ${cause.message}` : message;
  return `failed     ${method} (error ${id}): ${why.split('\n').map(printable).join('\n  | ')}`;
}
