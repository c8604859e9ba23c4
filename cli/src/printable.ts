/** Text of strangers on a terminal. */

/**
 * `text` with every control and format character written out, so that what a host or server chose cannot move the
 * cursor, hide a line or pass for one of ours.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
