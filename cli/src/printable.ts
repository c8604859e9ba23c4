/** Text of strangers on a terminal. */

const CONTROLS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * `text` with every control and format character written out. Without this, text of a host or
 * server could move the cursor, hide a line or pass for one of ours.
 */
export function printable(text: string): string {
  return text.replace(CONTROLS, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/**
 * A value as indented JSON. The same characters stand in it as JSON's own escapes, so that a parser
 * reads the original ones.
 */
export function printableJson(value: unknown): string {
  // Within strings JSON has escaped line ends already: those that are left are the indentation's.
  return JSON.stringify(value, undefined, 2).replace(CONTROLS, (found) => (found === '\n' ? found : escaped(found)));
}

function escaped(character: string): string {
  const units = character.split(''); // UTF-16, as JSON escapes it
  return units.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
}
