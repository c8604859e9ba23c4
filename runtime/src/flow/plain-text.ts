/**
 * Text as detectors read it: one spelling of each letter, digit and separator, without invisible
 * characters.
 */

/**
 * Characters of text that one search takes in, in every form that the text has. A message with more
 * is a find of every detector.
 */
export const MAX_TEXT_CHARS: number = 16 * 1024 * 1024;

/** Characters with another spelling, that are invisible, or that no line contains. */
const ODD = /[^\x20-\x7e]/;
/** Characters that are invisible, or visible only as a part of the letter before them. */
const UNSEEN = /[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
/** Characters that stand for a separator, and the one that they are read as. */
const SEPARATORS: readonly (readonly [RegExp, string])[] = [
  [/[\p{Z}\p{Cc}]/gu, ' '],
  [/[\p{Pd}\u2043\u2212]/gu, '-'],
  [/[\u00b7\u0387\u2022\u2027\u2219\u22c5\u3002\u30fb]/g, '.'],
  [/\p{Pc}/gu, '_'],
  [/[\u2044\u2215]/g, '/'],
  [/[\u00ab\u00bb\u201c-\u201f]/g, '"'],
];
const DIGIT = /\p{Nd}/u;
const FOREIGN_DIGITS = /(?![0-9])\p{Nd}/gu;

/**
 * A text in the one form that detectors search: NFKD without marks, format characters and other
 * invisible characters; digits of every script as ASCII's; one character for each class of
 * separators; on a single line.
 */
export function plain(text: string): string {
  if (!ODD.test(text)) return text;
  // **Cost**: marks are dropped first. Putting a long row of them into order would take the square
  // of its length.
  let read = text.replace(UNSEEN, '').normalize('NFKD').replace(UNSEEN, '');
  // One character can become eighteen. A text of this length is not searched further.
  if (read.length > MAX_TEXT_CHARS) return read;
  for (const [separator, one] of SEPARATORS) read = read.replace(separator, one);
  return read.replace(FOREIGN_DIGITS, asciiDigit);
}

/**
 * The letters and digits of a text in capitals. A value is recognised by them, however it is
 * spaced, cased and ended.
 */
export function bare(text: string): string {
  return plain(text)
    .toUpperCase()
    .replace(/[^\p{L}\p{N}]+/gu, '');
}

const asciiDigits: Map<string, string> = new Map();

/**
 * The ASCII digit of a digit in any script. The digits of a script stand together from zero to
 * nine, so a digit's value is its distance from the beginning of its row.
 */
function asciiDigit(digit: string): string {
  let ascii = asciiDigits.get(digit);
  if (ascii === undefined) {
    const at = digit.codePointAt(0) ?? 0;
    let before = 0;
    while (DIGIT.test(String.fromCodePoint(at - before - 1))) before++;
    ascii = String(before % 10);
    asciiDigits.set(digit, ascii);
  }
  return ascii;
}
