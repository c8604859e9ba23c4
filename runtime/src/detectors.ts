/** Leak detectors: text that must not leave whatever its label says. A net behind the flow rules, never instead of them. */

import type { Leaks } from '@enclaim/policy-schema/admission';
import type { Json } from './worker/protocol.ts';

/** A kind of text that a detector knows. */
export type LeakDetector = Leaks['detectors'][number];

/** Characters of text that one look takes in, bytes in base64 and as text; a message with more is a find of every detector. */
const LONGEST = 16 * 1024 * 1024;
/** A shorter value is too common a word to be recognised by. */
const SHORTEST_VALUE = 6;
/** Characters of a token's head, the shortest that there is. */
const SHORTEST_HEAD = 11;

/**
 * Candidates by pattern, then a check that settles it. No pattern can match one character in two ways, and what can be of any
 * length has one place to begin: else a text of near misses is looked at from each of them to its end.
 */
const SHAPES: Readonly<
  Record<Exclude<LeakDetector, 'exact-match'>, readonly (readonly [RegExp, (found: string) => boolean])[]>
> = {
  email: [[/(?<=[\p{L}\p{N}._%+'-])@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}/gu, () => true]],
  // Looked ahead, not taken in: words may follow, and the next number may begin within this one's greatest length.
  iban: [[/\b[A-Z]{2}[0-9]{2}(?=((?:[ \u00a0\u202f]?[A-Z0-9]){11,30}))/gi, isIban]],
  'payment-card': [
    [/(?<![0-9])[0-9](?:[ \u00a0\u202f.-]?[0-9]){12,18}(?![0-9])/g, isCard],
    // As cards print them, for other numbers stand before and behind: a count, an expiry date.
    [/(?<![0-9])[0-9]{13,19}(?![0-9])/g, isCard],
    [/(?<![0-9])[0-9]{4}(?=((?:[ \u00a0\u202f.-][0-9]{4}){3})(?![0-9]))/g, isCard],
    [/(?<![0-9])[0-9]{4}(?=((?:[ \u00a0\u202f.-][0-9]{4}){3}[ \u00a0\u202f.-][0-9]{3})(?![0-9]))/g, isCard],
    [/(?<![0-9])[0-9]{4}(?=([ \u00a0\u202f.-][0-9]{6}[ \u00a0\u202f.-][0-9]{4,5})(?![0-9]))/g, isCard],
  ],
  credential: [
    [/-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----/g, () => true],
    // Looked ahead, not taken in: the second part may be the first of another token.
    [/(?<![A-Za-z0-9_-])[A-Za-z0-9_-]+(?=\.eyJ[A-Za-z0-9_-]{8,}\.)/g, isTokenHead],
    [/(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])/g, () => true],
    [/\bgh[pousr]_[A-Za-z0-9]{36,255}\b|\bgithub_pat_[A-Za-z0-9_]{22,255}/g, () => true],
    [/\bxox[abprs]-[A-Za-z0-9-]{10,255}|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}/g, () => true],
    [/\bAIza[A-Za-z0-9_-]{35}|\bglpat-[A-Za-z0-9_-]{20,255}|\bsk-[A-Za-z0-9_-]{20,255}/g, () => true],
  ],
};

/**
 * The detectors that find something in a message.
 * @param forbidden values of which none may stand in it, for `exact-match`
 */
export function detect(
  detectors: readonly LeakDetector[],
  message: Json,
  forbidden: ReadonlySet<string>,
): LeakDetector[] {
  const leaves = textsOf(message);
  const text = leaves.join('\n');
  if (text.length > LONGEST) return [...detectors];
  return detectors.filter((detector) => {
    if (detector === 'exact-match') return leaves.some((leaf) => forbidden.has(leaf.trim()));
    return SHAPES[detector].some(([shape, settles]) => text.matchAll(shape).some((match) => settles(match.join(''))));
  });
}

/** The values of a message by which it could be recognised elsewhere. */
export function recognisable(message: Json): string[] {
  return textsOf(message)
    .map((text) => text.trim())
    .filter((text) => text.length >= SHORTEST_VALUE);
}

/** Every text in a message, names of map entries included. */
function textsOf(message: Json): string[] {
  const found: string[] = [];
  const queue: Json[] = [message];
  for (let value = queue.pop(); value !== undefined; value = queue.pop()) {
    if (typeof value === 'string') found.push(value);
    else if (typeof value === 'number') found.push(String(value));
    else if (Array.isArray(value)) {
      // One by one: as arguments of one call they would have to find room on the stack.
      for (const inner of value) queue.push(inner);
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, inner] of Object.entries(value)) queue.push(name, inner as Json);
    }
  }
  return found;
}

/** Lengths by country (IBAN registry, release 99). */
const IBAN_LENGTHS: ReadonlyMap<string, number> = new Map(
  [
    ...(
      'AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18GR27' +
      'GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28' +
      'PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20'
    ).matchAll(/([A-Z]{2})([0-9]{2})/g),
  ].map(([, country = '', length]) => [country, Number(length)]),
);

/** ISO 13616: the country's letters and check digits moved to the end, letters as numbers, modulo 97. */
function isIban(found: string): boolean {
  const compact = found.replace(/[^A-Z0-9]/gi, '').toUpperCase();
  const length = IBAN_LENGTHS.get(compact.slice(0, 2)) ?? compact.length;
  if (compact.length < length) return false;
  let rest = 0;
  for (const character of compact.slice(4, length) + compact.slice(0, 4)) {
    const value = Number.parseInt(character, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}

/** RFC 7519: a JSON object in base64url, whatever stands before it. */
function isTokenHead(found: string): boolean {
  const at = found.indexOf('eyJ');
  return at >= 0 && found.length - at >= SHORTEST_HEAD;
}

/** ISO/IEC 7812: Luhn's check digit. */
function isCard(found: string): boolean {
  const digits = [...found.replace(/[^0-9]/g, '')].map(Number).reverse();
  const sum = digits.reduce(
    (sum, digit, at) => sum + (at % 2 === 0 ? digit : digit > 4 ? digit * 2 - 9 : digit * 2),
    0,
  );
  return sum % 10 === 0;
}
