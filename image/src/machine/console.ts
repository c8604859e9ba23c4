/**
 * Lines of a console whose writer is not trusted: bounded, and without anything that a terminal
 * would obey.
 */

const MAX_LINE = 1000;
const MAX_BUFFERED = 1000;

/** Escape sequences of terminals: CSI with its parameters, other two-byte forms. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\^_]|.)?/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const CONTROLS = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;

/** The line without escape sequences and control characters, cut to 1000 characters. */
export function cleanLine(line: string): string {
  return line
    .slice(0, 4 * MAX_LINE)
    .replace(ESCAPES, '')
    .replace(CONTROLS, '')
    .slice(0, MAX_LINE)
    .trimEnd();
}

/**
 * Splits text that comes in pieces into clean lines. A line that does not end is given out in
 * parts, so that memory stays bounded.
 */
export class LineSplitter {
  #rest = '';

  /** The lines that `piece` completes. */
  push(piece: string): string[] {
    const lines = (this.#rest + piece).split('\n');
    this.#rest = lines.pop() ?? '';
    while (this.#rest.length > 4 * MAX_LINE) {
      lines.push(this.#rest.slice(0, 4 * MAX_LINE));
      this.#rest = this.#rest.slice(4 * MAX_LINE);
    }
    return lines.map(cleanLine);
  }

  /** The unfinished last line, if any. */
  end(): string[] {
    const rest = cleanLine(this.#rest);
    this.#rest = '';
    return rest === '' ? [] : [rest];
  }
}

/** Lines for one reader. A reader that is too slow loses the oldest ones and is told how many. */
export class LineQueue implements AsyncIterable<string> {
  readonly #lines: string[] = [];
  #dropped = 0;
  #ended = false;
  #wake: () => void = () => {};

  push(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > MAX_BUFFERED) {
      this.#lines.shift();
      this.#dropped++;
    }
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** The newest lines, oldest first. */
  tail(count: number): readonly string[] {
    return this.#lines.slice(-count);
  }

  async *[Symbol.asyncIterator](): AsyncIterator<string> {
    for (;;) {
      if (this.#dropped > 0) {
        const count = this.#dropped;
        this.#dropped = 0;
        yield `(${count} lines lost)`;
      }
      const line = this.#lines.shift();
      if (line !== undefined) yield line;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
