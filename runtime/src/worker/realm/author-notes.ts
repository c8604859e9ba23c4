/** Part of the realm: notes to the author of the handlers, on the author's own machine alone. */

/**
 * A note to the author on the author's own machine: an error that a handler threw, or a line that
 * it wrote to the console.
 */
export type AuthorNote =
  | { readonly kind: 'threw'; readonly method: string; readonly text: string }
  | { readonly kind: 'console'; readonly level: string; readonly text: string };

/** Notes, and what makes them. */
export interface AuthorNotes {
  /** Takes the note that a method of a handler threw an error. */
  readonly threw: (method: string, error: unknown) => void;
  /** A console that makes notes. */
  readonly console: () => unknown;
  /** Notes since the last time, as JSON, one per line. */
  readonly take: () => string;
}

/** Makes the notes, as many as there is room for. */
export function authorNotes(): AuthorNotes {
  const { stringify } = JSON;
  const MAX_NOTE_CHARS = 16_384;
  const MAX_NOTED_CHARS = 1_048_576;
  let noted = '';

  function note(what: AuthorNote): void {
    const text = `${stringify({ ...what, text: what.text.slice(0, MAX_NOTE_CHARS) })}\n`;
    if (noted.length + text.length <= MAX_NOTED_CHARS) noted += text;
  }

  /**
   * Any value as text: an error as its stack and causes, anything else as JSON. A getter or
   * `toJSON` of the value may throw.
   */
  function describe(what: unknown): string {
    try {
      if (what instanceof Error)
        return `${what.stack || what}${what.cause === undefined ? '' : `\ncaused by: ${describe(what.cause)}`}`;
      return typeof what === 'string' ? what : (stringify(what) ?? String(what));
    } catch {
      return 'something without a text';
    }
  }

  const written =
    (level: string) =>
    (...parts: unknown[]): void =>
      note({ kind: 'console', level, text: parts.map(describe).join(' ') });
  return {
    threw: (method, error) => note({ kind: 'threw', method, text: describe(error) }),
    console: () =>
      Object.fromEntries(['debug', 'error', 'info', 'log', 'trace', 'warn'].map((level) => [level, written(level)])),
    take: () => {
      const text = noted;
      noted = '';
      return text;
    },
  };
}
