/** Text as detectors read it: one way to write each letter, digit and separator, and nothing that is not seen. */

/** Characters of text that one look takes in, in every form that it has; a message with more is a find of every detector. */
export const LONGEST: number = 16 * 1024 * 1024;

/** What has another way to be written, is not seen or is no character of a line. */
const ODD = /[^\x20-\x7e]/;
/** Not seen, or seen as a part of the letter before it. */
const UNSEEN = /[\p{M}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
/** What stands for one separator, and the one that it is read as. */
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
 * A text in the one form that detectors look at: NFKD without marks, format characters and others that are not seen, digits of every
 * script as ASCII's, one character for each class of separators. On a single line.
 */
export function plain(text: string): string {
  if (!ODD.test(text)) return text;
  // Marks are dropped first: to bring a long row of them into order would take the square of its length.
  let read = text.replace(UNSEEN, '').normalize('NFKD').replace(UNSEEN, '');
  // One character can become eighteen; so long a text is looked at no further.
  if (read.length > LONGEST) return read;
  for (const [separator, one] of SEPARATORS) read = read.replace(separator, one);
  return read.replace(FOREIGN_DIGITS, asciiDigit);
}

/** Letters and digits of a text and nothing else, in capitals: what it is recognised by, however it is spaced, cased and ended. */
export function bare(text: string): string {
  return plain(text)
    .toUpperCase()
    .replace(/[^\p{L}\p{N}]+/gu, '');
}

const asciiDigits: Map<string, string> = new Map();

/** Digits of a script stand together, from zero to nine: a digit is as far from the beginning of its row as it is worth. */
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
