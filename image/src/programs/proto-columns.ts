/**
 * Columns in .proto files. The compiler counts in two ways, and neither is an editor's.
 *
 * - Its errors count bytes.
 * - Its places of declarations count the columns of a terminal: a tab leads to the next stop of
 *   four, some characters take two columns and some none.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProtoPlace } from '@enclaim/policy-schema/admission';

const TAB_STOP = 4;
/** The start of a declaration: a word, or a type's leading dot. */
const WORD = /[A-Za-z_.][\w.]*/g;
/** Takes no column of its own. */
const NARROW = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u;
/** Takes two: East Asian scripts, full width forms, and pictures. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{17000}-\u{18fff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;
const characters = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * The place of a declaration as an editor gives it: its column in UTF-16 code units.
 * @param folder the folder that the place's file is relative to
 */
export function editorPlace<Place extends ProtoPlace>(folder: string, place: Place): Place {
  const line = lineOf(join(folder, place.file), place.line);
  return line === undefined ? place : { ...place, column: columnOfTerminal(line, place.column) };
}

/**
 * The column of a compiler's error, which counts bytes, in UTF-16 code units.
 * @param file path of its file
 */
export function columnOfError(file: string, line: number, column: number): number {
  const text = lineOf(file, line);
  return text === undefined ? column : Buffer.from(text).toString('utf8', 0, column - 1).length + 1;
}

/**
 * A terminal's column as one of UTF-16 code units; both count from 1. The width of a character
 * differs with the edition of Unicode. Therefore the column is taken to mean the nearest start of a
 * word.
 */
export function columnOfTerminal(line: string, column: number): number {
  // A terminal's columns by UTF-16 offset, of the first unit of each character.
  const offsets: number[] = [];
  let wide = 0;
  for (const { segment, index } of characters.segment(line)) {
    offsets[index] = wide;
    if (segment === '\t') wide += TAB_STOP - (wide % TAB_STOP);
    else if (!NARROW.test(segment)) wide += WIDE.test(segment) ? 2 : 1;
  }
  const far = (index: number): number => Math.abs((offsets[index] ?? Number.POSITIVE_INFINITY) - (column - 1));
  const [nearest] = [...line.matchAll(WORD)].sort((one, other) => far(one.index) - far(other.index));
  return nearest === undefined ? column : nearest.index + 1;
}

/** A line, counted from 1; absent if the file is not there, as the grammar's own is not. */
function lineOf(file: string, line: number): string | undefined {
  try {
    return readFileSync(file, 'utf8').split('\n')[line - 1];
  } catch {
    return undefined;
  }
}
