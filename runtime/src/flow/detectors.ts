/** Leak detectors: text that must not leave whatever its label says. A net behind the flow rules, never instead of them. */

import type { Leaks } from '@enclaim/policy-schema/admission';
import { holdsCard, holdsIban } from './account-numbers.ts';
import { bare, LONGEST, plain } from './plain-text.ts';

/** A kind of text that a detector knows. */
export type LeakDetector = Leaks['detectors'][number];

/** Letters and digits of a value. A shorter one is too common a word to be recognised by. */
const SHORTEST_VALUE = 6;
/** Characters of a token's head, the shortest that there is. */
const SHORTEST_HEAD = 11;

/** Candidates by pattern, then a check that settles it. */
type Shape = readonly [candidate: RegExp, settles: (found: string) => boolean];
const always = (): boolean => true;
const hasDigit = (found: string): boolean => /[0-9]/.test(found);

/** How a JSON object begins in base64url: a brace, then a quotation mark or space. */
const OBJECT = 'e(?:y[A-DI-L]|w[k-r0-3])';

/**
 * No pattern can match one character in two ways, and what can be of any length has one place to begin: else a text of near misses
 * is looked at from each of them to its end.
 */
const EMAIL: readonly Shape[] = [
  [/(?<=[\p{L}\p{N}.!#$%&'*+/=?^_`{|}~"-] ?)@ ?(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}/gu, always],
  [/(?<=[\p{L}\p{N}.!#$%&'*+/=?^_`{|}~"-])@\[(?:IPv6:)?[0-9a-f.:]{3,45}\]/giu, always],
];
const CREDENTIAL: readonly Shape[] = [
  [/- ?BEGIN [A-Z0-9 ]{0,40}PRIVATE {1,3}KEY(?: {1,3}BLOCK)? ?-/gi, always],
  // Looked ahead, not taken in: the second part may be the first of another token.
  [new RegExp(`(?<![A-Za-z0-9_-])[A-Za-z0-9_-]+(?=\\.${OBJECT}[A-Za-z0-9_-]{8,}\\.)`, 'g'), isTokenHead],
  [/(?:AKIA|ASIA)[A-Z0-9]{16}/g, always],
  [/gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22}/g, always],
  [/xox[abeprs]-[A-Za-z0-9-]{10,255}|(?<![A-Za-z])sk-[A-Za-z0-9_-]{20,255}/g, hasDigit],
  [/[rs]k_(?:live|test)_[A-Za-z0-9]{16}|AIza[A-Za-z0-9_-]{35}|glpat-[A-Za-z0-9_-]{20}/g, always],
];

/** What finds each kind of text in one that is plain. */
const FINDERS: Readonly<Record<Exclude<LeakDetector, 'exact-match'>, (text: string) => boolean>> = {
  email: (text) => text.includes('@') && matches(EMAIL, text),
  iban: holdsIban,
  'payment-card': holdsCard,
  credential: (text) => matches(CREDENTIAL, text),
};

/**
 * The detectors that find something in a message.
 * @param texts all that the message says, each text by itself
 * @param forbidden what {@link recognisable} made of values of which none may stand in it, for `exact-match`
 */
export function detect(
  detectors: readonly LeakDetector[],
  texts: readonly string[],
  forbidden: ReadonlySet<string>,
): LeakDetector[] {
  // A line for each: no separator reaches across.
  const text = texts.map(plain).join('\n');
  if (text.length > LONGEST) return [...detectors];
  return detectors.filter((detector) =>
    detector === 'exact-match'
      ? forbidden.size > 0 && texts.some((each) => forbidden.has(bare(each)))
      : FINDERS[detector](text),
  );
}

/** What the texts of a message could be recognised by elsewhere. */
export function recognisable(texts: readonly string[]): string[] {
  return texts.map(bare).filter((value) => value.length >= SHORTEST_VALUE);
}

function matches(shapes: readonly Shape[], text: string): boolean {
  return shapes.some(([shape, settles]) => text.matchAll(shape).some(([found]) => settles(found)));
}

/** RFC 7519: a JSON object in base64url, whatever stands before it. */
function isTokenHead(found: string): boolean {
  const at = found.search(OBJECT);
  return at >= 0 && found.length - at >= SHORTEST_HEAD;
}
