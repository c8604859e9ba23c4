/** Shapes of JSON that commands print, as data: written in the manual, and held against output. */

/**
 * A shape. A text is a type (`text`, `number`, `boolean`, `null`, `anything`) or several, with `|`
 * between them; another word is that word itself. A list has elements of one shape. A member whose
 * name ends in `?` may be missing, and one whose name ends in `|null` may be null; the member `*`
 * stands for members of any name.
 */
export type Shape = string | readonly [Shape] | { readonly [member: string]: Shape };

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
  anything: () => true,
};

/** A shape for people: a block of lines without the first indentation. */
export function shapeText(shape: Shape, indent = ''): string {
  if (typeof shape === 'string') return shape.split('|').map(typeText).join(' | ');
  if (isList(shape)) return `[${shapeText(shape[0], indent)}, …]`;
  const members = Object.entries(shape).map(([name, of]) => {
    const [plain = '', nullable] = name.split('|');
    return `${indent}  ${plain}: ${shapeText(of, `${indent}  `)}${nullable === undefined ? '' : ' | null'}`;
  });
  return `{\n${members.join(',\n')}\n${indent}}`;
}

function typeText(type: string): string {
  return Object.hasOwn(TYPES, type) ? type : JSON.stringify(type);
}

/** The place and reason where a value is not of a shape, or null. */
export function mismatch(shape: Shape, value: unknown, at = '$'): string | null {
  if (typeof shape === 'string') {
    const fits = shape.split('|').some((type) => (Object.hasOwn(TYPES, type) ? TYPES[type]?.(value) : type === value));
    return fits ? null : `${at}: ${JSON.stringify(value)} is not ${shape}`;
  }
  if (isList(shape)) {
    if (!Array.isArray(value)) return `${at}: expected a list`;
    return firstOf(value.map((one, index) => mismatch(shape[0], one, `${at}[${index}]`)));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${at}: expected an object`;
  return membersMismatch(shape, value as Readonly<Record<string, unknown>>, at);
}

function membersMismatch(
  shape: Readonly<Record<string, Shape>>,
  value: Readonly<Record<string, unknown>>,
  at: string,
): string | null {
  const known = new Map(Object.entries(shape).map(([name, of]) => [name.replace(/[?|].*$/, ''), { name, of }]));
  const unknown = Object.keys(value).find((name) => !known.has(name) && !known.has('*'));
  if (unknown !== undefined) return `${at}.${unknown}: not in the shape`;
  const missing = [...known].find(([plain, { name }]) => plain !== '*' && !name.endsWith('?') && !(plain in value));
  if (missing !== undefined) return `${at}.${missing[0]}: missing`;
  return firstOf(
    Object.entries(value).map(([plain, one]) => {
      const { name = '', of = 'anything' } = known.get(plain) ?? known.get('*') ?? {};
      return one === null && name.endsWith('|null') ? null : mismatch(of, one, `${at}.${plain}`);
    }),
  );
}

function isList(shape: Shape): shape is readonly [Shape] {
  return Array.isArray(shape);
}

function firstOf(faults: readonly (string | null)[]): string | null {
  return faults.find((fault) => fault !== null) ?? null;
}
