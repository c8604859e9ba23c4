/**
 * Leak detectors: texts that must not leave, whatever their label says. They are a net behind the
 * flow rules and no replacement for them.
 */

import type { Leaks } from '@enclaim/policy-schema/admission';
import { holdsCard, holdsIban } from './account-numbers.ts';
import { bare, MAX_TEXT_CHARS, plain } from './plain-text.ts';

/** A kind of text that a detector finds. */
export type LeakDetector = Leaks['detectors'][number];

/** Letters and digits of a value. A shorter value is too common a word to be recognised by. */
const SHORTEST_VALUE = 6;
/** Characters of the shortest head of a token. */
const SHORTEST_HEAD = 11;

/** A pattern for candidates, and a check that settles each. */
type Shape = readonly [candidate: RegExp, settles: (found: string) => boolean];
const always = (): boolean => true;
const hasDigit = (found: string): boolean => /[0-9]/.test(found);

/** The beginning of a JSON object in base64url: a brace, then a quotation mark or space. */
const OBJECT = 'e(?:y[A-DI-L]|w[k-r0-3])';

/**
 * **Cost**: no pattern can match one character in two ways, and a part of unbounded length has one
 * place to begin. Without this, a text of near misses would be searched from each of them to its
 * end.
 */
const EMAIL: readonly Shape[] = [
  [/(?<=[\p{L}\p{N}.!#$%&'*+/=?^_`{|}~"-] ?)@ ?(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}/gu, always],
  [/(?<=[\p{L}\p{N}.!#$%&'*+/=?^_`{|}~"-])@\[(?:IPv6:)?[0-9a-f.:]{3,45}\]/giu, always],
];
const CREDENTIAL: readonly Shape[] = [
  [/- ?BEGIN [A-Z0-9 ]{0,40}PRIVATE {1,3}KEY(?: {1,3}BLOCK)? ?-/gi, always],
  // A lookahead, because the second part may be the first of another token.
  // layer: patterns with one beginning
  [new RegExp(`(?<![A-Za-z0-9_-])[A-Za-z0-9_-]+(?=\\.${OBJECT}[A-Za-z0-9_-]{8,}\\.)`, 'g'), isTokenHead],
  [/(?:AKIA|ASIA)[A-Z0-9]{16}/g, always],
  [/gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22}/g, always],
  [/xox[abeprs]-[A-Za-z0-9-]{10,255}|(?<![A-Za-z])sk-[A-Za-z0-9_-]{20,255}/g, hasDigit],
  [/[rs]k_(?:live|test)_[A-Za-z0-9]{16}|AIza[A-Za-z0-9_-]{35}|glpat-[A-Za-z0-9_-]{20}/g, always],
];

/** The finder of each kind of text, in a text that is plain. */
const FINDERS: Readonly<Record<Exclude<LeakDetector, 'exact-match'>, (text: string) => boolean>> = {
  email: (text) => text.includes('@') && matches(EMAIL, text),
  iban: holdsIban,
  'payment-card': holdsCard,
  credential: (text) => matches(CREDENTIAL, text),
};

/**
 * The detectors that find something in a message.
 *
 * @param texts all texts of the message, each by itself
 * @param forbidden results of {@link recognisable} for values that the message may not repeat, for
 * `exact-match`
 */
export function detect(
  detectors: readonly LeakDetector[],
  texts: readonly string[],
  forbidden: ReadonlySet<string>,
): LeakDetector[] {
  // One line for each text: no separator reaches across lines.
  const text = texts.map(plain).join('\n');
  if (text.length > MAX_TEXT_CHARS) return [...detectors];
  return detectors.filter((detector) =>
    detector === 'exact-match'
      ? forbidden.size > 0 && texts.some((each) => forbidden.has(bare(each)))
      : FINDERS[detector](text),
  );
}

/** Forms by which the texts of a message can be recognised elsewhere. */
export function recognisable(texts: readonly string[]): string[] {
  return texts.map(bare).filter((value) => value.length >= SHORTEST_VALUE);
}

function matches(shapes: readonly Shape[], text: string): boolean {
  return shapes.some(([shape, settles]) => text.matchAll(shape).some(([found]) => settles(found)));
}

/**
 * Whether a match is the head of a token (RFC 7519): a JSON object in base64url, behind any prefix.
 */
function isTokenHead(found: string): boolean {
  const at = found.search(OBJECT);
  return at >= 0 && found.length - at >= SHORTEST_HEAD;
}
