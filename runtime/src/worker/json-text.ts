/**
 * JSON that stays text. The messages of callers, handlers and subprocessors cross between runtime
 * and worker in this form, behind the part of a frame that says what they are for. The side that
 * takes one parses it once.
 */

declare const writer: unique symbol;

/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** JSON that the runtime wrote: a frame holds it as it is. */
export type JsonText = string & { readonly [writer]: 'runtime' };

/**
 * Text that a worker gives as the JSON of a message.
 *
 * **Trust**: none. It may be no JSON at all.
 */
export type WorkerText = string & { readonly [writer]: 'worker' };

/** The text of `null`. */
export const NULL_TEXT: JsonText = jsonText(null);

/**
 * Arrays, objects and members of a value. Each may take two hundred bytes of memory, and only two
 * of text.
 */
const MAX_PARTS = 100_000;
/** Nesting of arrays and objects. Later code walks through a value by recursion. */
const MAX_DEPTH = 256;

/** Characters that {@link weighJson} counts by. Brackets close two after they open. */
const QUOTE = 0x22;
const COLON = 0x3a;
const BRACKET = 0x5b;
const BRACE = 0x7b;

/** A value as text. */
export function jsonText(value: Json): JsonText {
  return JSON.stringify(value) as JsonText;
}

/**
 * The value of a worker's text.
 *
 * @throws RangeError as {@link weighJson}; SyntaxError if it is not JSON
 */
export function parseWorkerText(text: WorkerText): Json {
  weighJson(text);
  return JSON.parse(text) as Json;
}

/** @throws RangeError for a text that would be too large, or too deep, once it is parsed */
export function weighJson(text: string): void {
  let parts = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = closing(text, at);
        break;
      case COLON:
        parts++;
        break;
      case BRACKET:
      case BRACE:
        parts++;
        if (++depth > MAX_DEPTH) throw new RangeError(`deeper than ${MAX_DEPTH}`);
        break;
      case BRACKET + 2:
      case BRACE + 2:
        depth--;
    }
  }
  if (parts > MAX_PARTS) throw new RangeError(`more than ${MAX_PARTS} parts`);
}

/**
 * Position of the quotation mark that closes the one at `from`; the end of the text if none does.
 */
function closing(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text[at - 1 - slashes] === '\\') slashes++;
    if (slashes % 2 === 0) return at;
  }
  return text.length;
}
