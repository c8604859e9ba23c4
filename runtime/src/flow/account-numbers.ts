/**
 * Numbers of accounts and cards in text. Candidates are found by their form and settled by their
 * check digits, each looked at once.
 */

/** Separators that may stand between two characters of a number, such as ` - `. */
const MAX_SEPARATORS = 3;
/**
 * Full-length candidates that one text may have. A text with more consists of candidates, and
 * counts as a find.
 */
const MAX_CANDIDATES = 100_000;
/**
 * Characters of an IBAN before the part that its country defines: country code and two check
 * digits.
 */
const IBAN_HEAD = 4;

/** Lengths by country (IBAN registry, release 99). */
const IBAN_LENGTHS: ReadonlyMap<string, number> = new Map(
  [
    ...(
      'AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22' +
      'GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20' +
      'MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26' +
      'UA29VA22VG24XK20YE30'
    ).matchAll(/([A-Z]{2})([0-9]{2})/g),
  ].map(([, country = '', length]) => [country, Number(length)]),
);
/** Countries whose IBANs have only digits after the check digits. */
const ALL_DIGITS: ReadonlySet<string> = new Set(
  'AE AT BA BE BI CR CZ DE DJ DK EE EG ES FI FO GL HR HU IL IS LT LY ME MN MR NO PL PT RS SD SE SI SK SO ST TL TN VA XK'.split(
    ' ',
  ),
);

/** Kinds of characters in a number, by character code. Every character beyond ASCII is OTHER. */
const [OTHER, DIGIT, LETTER, SEPARATOR] = [0, 1, 2, 3];
const KINDS = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  if (/[0-9]/.test(character)) return DIGIT;
  if (/[A-Z]/i.test(character)) return LETTER;
  return ' -._/'.includes(character) ? SEPARATOR : OTHER;
});
const [ZERO, A, POINT] = [0x30, 0x61, 0x2e];

/** Kind of the character at a position; OTHER behind the end. */
function kindAt(text: string, at: number): number {
  return KINDS[text.charCodeAt(at)] ?? OTHER;
}

/** Whether a text contains an IBAN (ISO 13616), regardless of the characters beside it. */
export function holdsIban(text: string): boolean {
  let candidates = 0;
  for (let at = 0; at + IBAN_HEAD < text.length; at++) {
    if (kindAt(text, at) !== LETTER || kindAt(text, at + 2) !== DIGIT) continue;
    if (kindAt(text, at + 1) !== LETTER || kindAt(text, at + 3) !== DIGIT) continue;
    const isIban = isIbanAt(text, at);
    if (isIban || (isIban === false && ++candidates > MAX_CANDIDATES)) return true;
  }
  return false;
}

/**
 * Whether the IBAN candidate at a position has the right check digits; undefined if no candidate of
 * full length begins there.
 */
function isIbanAt(text: string, at: number): boolean | undefined {
  const country = text.slice(at, at + 2).toUpperCase();
  const length = IBAN_LENGTHS.get(country);
  if (length === undefined) return undefined;
  const digitsOnly = ALL_DIGITS.has(country);
  let [rest, taken, digits, separators] = [0, IBAN_HEAD, 0, 0];
  for (let next = at + IBAN_HEAD; taken < length; next++) {
    const kind = kindAt(text, next);
    if (kind === OTHER || (kind === LETTER && digitsOnly)) return undefined;
    if (kind === SEPARATOR) {
      if (++separators > MAX_SEPARATORS) return undefined;
      continue;
    }
    if (kind === DIGIT) digits++;
    rest = modulo(rest, kind, text.charCodeAt(next));
    separators = 0;
    taken++;
  }
  for (let next = at; next < at + IBAN_HEAD; next++) rest = modulo(rest, kindAt(text, next), text.charCodeAt(next));
  // In other countries letters are bank codes. A candidate with more letters than digits is words.
  return rest === 1 && digits * 2 >= length - IBAN_HEAD;
}

/** Adds a character to the remainder. Letters count as 10 to 35. */
function modulo(rest: number, kind: number, code: number): number {
  return kind === DIGIT ? (rest * 10 + code - ZERO) % 97 : (rest * 100 + (code | 0x20) - A + 10) % 97;
}

/** A run of digits without a separator. */
interface Group {
  at: number;
  end: number;
  /** Whether exactly one point stands between it and the group before. */
  isFraction: boolean;
}

/**
 * Digits of a card number, fewest and most, and the most digits of one group: cards also carry an
 * expiry date and a security code.
 */
const [MIN_DIGITS, MAX_DIGITS, MAX_DIGITS_BESIDE] = [13, 19, 24];
/** Groups of the longest number that cards print. */
const MAX_GROUPS = 5;

/**
 * Whether a text contains the number of a payment card, as cards print it or as a row of groups of
 * its own (ISO/IEC 7812).
 */
export function holdsCard(text: string): boolean {
  /** The last groups, the newest in the end. */
  const groups = Array.from({ length: MAX_GROUPS }, (): Group => ({ at: 0, end: 0, isFraction: false }));
  let [rowAt, rowDigits, rowGroups, before] = [0, 0, 0, 0];
  /**
   * Whether a row of groups is a card number as a whole. Two groups with a point between them are a
   * decimal.
   */
  const isRow = (): boolean =>
    rowGroups > 1 && !(rowGroups === 2 && groups[MAX_GROUPS - 1]?.isFraction) && isCard(text, rowAt, rowDigits, 'own');
  for (let at = 0; at < text.length; at++) {
    if (kindAt(text, at) !== DIGIT) continue;
    let end = at + 1;
    while (kindAt(text, end) === DIGIT) end++;
    const isNext = rowGroups > 0 && areSeparators(text, before, at);
    if (!isNext) {
      if (isRow()) return true;
      [rowAt, rowDigits, rowGroups] = [at, 0, 0];
    }
    // Groups are reused, because a text can consist of nothing but groups.
    const group = groups.shift() as Group;
    group.isFraction = isNext && at - before === 1 && text.charCodeAt(before) === POINT;
    [group.at, group.end, before] = [at, end, end];
    groups.push(group);
    rowDigits += end - at;
    rowGroups++;
    if (isAlone(text, group) || isPrinted(text, groups, rowGroups)) return true;
    at = end;
  }
  return isRow();
}

/** Whether one group is a card number, or begins or ends with one. */
function isAlone(text: string, { at, end, isFraction }: Group): boolean {
  const length = end - at;
  if (isFraction || length < MIN_DIGITS || length > MAX_DIGITS_BESIDE) return false;
  if (isCard(text, at, length, 'own')) return true;
  for (let each = 14; each <= 16 && each < length; each++) {
    if (isCard(text, at, each, 'beside') || isCard(text, end - each, each, 'beside')) return true;
  }
  return false;
}

/**
 * Whether the last groups are as cards print them: 4-4-4-4, 4-4-4-4-3, 4-6-5 or 4-6-4. Further
 * digits may stand before the first group and behind the last.
 */
function isPrinted(text: string, groups: readonly Group[], inRow: number): boolean {
  const size = (back: number): number => {
    const group = back <= inRow ? groups[MAX_GROUPS - back] : undefined;
    return group === undefined ? 0 : group.end - group.at;
  };
  /** Whether a card number of so many digits begins with the last four digits of a group. */
  const from = (back: number, digits: number): boolean =>
    isCard(text, (groups[MAX_GROUPS - back]?.end ?? 0) - 4, digits, 'own');
  if (size(2) === 6 && size(3) >= 4) return (size(1) >= 5 && from(3, 15)) || (size(1) >= 4 && from(3, 14));
  if (size(2) !== 4 || size(3) !== 4) return false;
  if (size(4) >= 4 && size(1) >= 4 && from(4, 16)) return true;
  return size(4) === 4 && size(5) >= 4 && size(1) >= 3 && from(5, 19);
}

/**
 * Whether the digits from a position on are a number that a card issuer uses, with Luhn's check
 * digit.
 *
 * @param where whether the digits stand alone or beside further digits. Beside further digits only
 * the usual lengths count, because one number in ten has the check digit.
 */
function isCard(text: string, from: number, count: number, where: 'own' | 'beside'): boolean {
  if (count < MIN_DIGITS || count > MAX_DIGITS) return false;
  let [head, sum, taken] = [0, 0, 0];
  for (let at = from; taken < count; at++) {
    if (kindAt(text, at) !== DIGIT) continue;
    const digit = text.charCodeAt(at) - ZERO;
    if (taken < 4) head = head * 10 + digit;
    taken++;
    if (taken === 4 && !isIssued(head, count, where)) return false;
    if ((count - taken) % 2 === 0) sum += digit;
    else sum += digit > 4 ? digit * 2 - 9 : digit * 2;
  }
  return sum % 10 === 0;
}

/**
 * Whether card numbers of this length begin with these four digits. Without this, every tenth
 * number of its length would be a find.
 */
function isIssued(head: number, count: number, where: 'own' | 'beside'): boolean {
  const within = (from: number, to: number): boolean => head >= from && head <= to;
  const long = where === 'own' ? count >= 16 : count === 16;
  if (within(4000, 4999)) return count === 16 || (where === 'own' && (count === MIN_DIGITS || count === MAX_DIGITS));
  if (within(5100, 5599) || within(2221, 2720)) return count === 16;
  if (within(3400, 3499) || within(3700, 3799)) return count === 15;
  if (within(3000, 3059) || head === 3095 || within(3600, 3699) || within(3800, 3999))
    return count === 14 || (where === 'own' && count >= 14);
  if (within(3528, 3589) || within(2200, 2204) || within(8100, 8299) || head === 9792) return long;
  if (within(5000, 5099) || within(5600, 6999)) return where === 'own' || count === 16;
  return where === 'own' && within(1000, 1999) && count === 15;
}

function areSeparators(text: string, from: number, to: number): boolean {
  if (to - from > MAX_SEPARATORS) return false;
  for (let at = from; at < to; at++) if (kindAt(text, at) !== SEPARATOR) return false;
  return true;
}
