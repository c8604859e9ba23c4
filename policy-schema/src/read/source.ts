/**
 * Documents as people write them, in YAML 1.2 (core schema) or JSON: their plain value, and where
 * each part stands.
 */

import * as yaml from 'yaml';
import { PolicyError, type PolicyIssue, type PolicyIssueCode, pointerOf } from '../error.ts';
import { decodeUtf8, MAX_BYTES, MAX_DEPTH } from '../json.ts';

/** A document that was read. */
export interface Source {
  readonly value: unknown;
  /**
   * Parts that could mean something else to another reader. If there are any, the value must not be
   * used.
   */
  readonly issues: readonly PolicyIssue[];
  /** The issue with the place of its subject, or of the nearest part around that. */
  locate(issue: PolicyIssue): PolicyIssue;
  /** The line of the value at a pointer, 1-based. */
  lineOf(pointer: string): number;
}

/** A place in a document, 1-based; columns in UTF-16 code units. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** Offsets of a part of the document. */
interface Span {
  readonly key: number;
  readonly value: number;
  /** Whether the value is a block of text whose lines are the document's. */
  readonly literal: boolean;
}

interface Reader {
  readonly spans: Map<string, Span>;
  found(code: PolicyIssueCode, offset: number, message: string): void;
}

// Words, marks and spaces. More than the densest policy of 256 KiB has.
const MAX_LEXEMES = 100_000;

/**
 * Words that readers of YAML 1.1 take for a truth value, a day, a number or a merge, and this one
 * for text.
 */
const OTHERWISE =
  /^(?:y|n|yes|no|on|off|=|<<|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?|[-+]?(?:0b[01_]+|0x[0-9a-f_]+|[0-9][0-9_]*(?:\.[0-9_]*)?|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?))$/i;
/**
 * The grammar's own key. Written plainly, this version accepts it; written as `"on"`, every reader
 * takes it for text.
 */
const OLD_KEY = 'on';
/**
 * Characters that YAML does not have, and line breaks that not all of its readers have. Without
 * this, one reader would read what another takes for a comment.
 */
const ILLEGIBLE =
  /[^\t\n\r\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]|\r(?!\n)|(?<=.)\ufeff/su;

/**
 * Reads a document.
 * @param file what messages call it
 * @throws PolicyError `size`, `encoding`, `syntax` or `depth`, with places
 *
 * @example
 * ```ts
 * import { readSource } from '@enclaim/policy-schema/source';
 *
 * const { value, issues } = readSource('{ on: yes }'); // YAML 1.1 reads another value: an issue
 * console.log(value, issues);
 * ```
 */
export function readSource(source: string | Uint8Array, file?: string): Source {
  const named = file === undefined ? {} : { file };
  const lines = new yaml.LineCounter();
  const issueAt = (code: PolicyIssueCode, offset: number, message: string): PolicyIssue => ({
    code,
    severity: 'error',
    message,
    pointer: '',
    ...named,
    ...placeOf(lines, offset),
  });
  const text = textOf(source, (code, message) => new PolicyError([issueAt(code, 0, message)]));
  const strange = ILLEGIBLE.exec(text);
  if (strange !== null) {
    lines.addNewLine(0);
    for (const { index } of text.slice(0, strange.index).matchAll(/\n/g)) lines.addNewLine(index + 1);
    const name = (strange[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    throw new PolicyError([
      issueAt(
        'encoding',
        strange.index,
        `U+${name}, which readers of YAML take differently; write it as an escape in quotes`,
      ),
    ]);
  }
  const tokens = tokensOf(text, lines);
  if (!Array.isArray(tokens)) throw new PolicyError([issueAt('depth', tokens.offset, tokens.message)]);
  // Its own check of unique keys takes quadratic time; ours is in `plain`.
  const [document, second] = new yaml.Composer({ version: '1.2', schema: 'core', uniqueKeys: false }).compose(tokens);
  const problems = [...(document?.errors ?? []), ...(document?.warnings ?? [])];
  if (problems.length > 0)
    throw new PolicyError(problems.map(({ pos, message }) => issueAt('syntax', pos[0], words(message))));
  if (!document) throw new PolicyError([issueAt('syntax', 0, 'an empty document')]);
  const issues: PolicyIssue[] = [];
  const reader: Reader = {
    spans: new Map(),
    found: (code, offset, message) => issues.push(issueAt(code, offset, message)),
  };
  for (const { type, offset } of tokens) if (type === 'directive') reader.found('yaml', offset, 'a directive');
  if (second) reader.found('yaml', second.range?.[0] ?? 0, 'a second document');
  const value = plain(document.contents, [], reader);
  const lineOf = (pointer: string): number => placeOf(lines, reader.spans.get(pointer)?.value ?? 0).line;
  return { value, issues, locate: (issue) => ({ ...named, ...locate(issue, reader.spans, lines, text) }), lineOf };
}

function textOf(source: string | Uint8Array, fail: (code: PolicyIssueCode, message: string) => PolicyError): string {
  const bytes = typeof source === 'string' ? new TextEncoder().encode(source) : source;
  if (bytes.length > MAX_BYTES) throw fail('size', `${bytes.length} bytes where ${MAX_BYTES} are allowed`);
  try {
    return decodeUtf8(bytes);
  } catch {
    throw fail('encoding', 'not UTF-8');
  }
}

interface Excess {
  readonly offset: number;
  readonly message: string;
}

/**
 * Parses up to the point where a document is nested too deep or has too many parts.
 *
 * **Bound**: what follows is recursive.
 */
function tokensOf(text: string, lines: yaml.LineCounter): yaml.CST.Token[] | Excess {
  const parser = new yaml.Parser(lines.addNewLine);
  const tokens: yaml.CST.Token[] = [];
  let [lexemes, offset] = [0, 0];
  lines.addNewLine(0);
  for (const lexeme of new yaml.Lexer().lex(text)) {
    if (++lexemes > MAX_LEXEMES) return { offset, message: `more than ${MAX_LEXEMES} parts` };
    tokens.push(...parser.next(lexeme));
    const depth = parser.stack.filter((token) => 'items' in token).length;
    if (depth > MAX_DEPTH) return { offset, message: `nested deeper than ${MAX_DEPTH} levels` };
    offset = parser.offset;
  }
  tokens.push(...parser.end());
  return tokens;
}

/** The plain value of a node. */
function plain(node: unknown, path: readonly string[], reader: Reader): unknown {
  const { found } = reader;
  if (!yaml.isNode(node)) return null;
  const at = node.range?.[0] ?? 0;
  if (yaml.isAlias(node)) {
    found('yaml', at, 'an alias; write the value out');
    return null;
  }
  if (node.anchor !== undefined) found('yaml', at, 'an anchor; write the value out where it is used');
  if (node.tag !== undefined) found('yaml', at, `a tag, ${node.tag}; values have the type they look like`);
  if (isAmbiguous(node)) found('yaml', at, otherwise(String((node as yaml.Scalar).value)));
  if (yaml.isScalar(node)) return scalar(node, at, found);
  if (yaml.isSeq(node)) return node.items.map((item, i) => inside(item, item, [...path, String(i)], reader));
  if (!yaml.isMap(node)) return null;
  const result: Record<string, unknown> = {};
  for (const { key, value } of node.items) {
    const name = yaml.isScalar(key) ? key.value : undefined;
    const start = startOf(key) ?? at;
    if (typeof name !== 'string') found('yaml', start, 'a key that is not text');
    else if (isAmbiguous(key) && name !== OLD_KEY) found('yaml', start, otherwise(name));
    else if (name === '__proto__') found('unknown', start, 'unknown key "__proto__"');
    else if (Object.hasOwn(result, name)) found('duplicate', start, `the key "${name}" stands here twice`);
    else result[name] = inside(key, value, [...path, name], reader);
  }
  return result;
}

function inside(key: unknown, value: unknown, path: readonly string[], reader: Reader): unknown {
  const start = startOf(key) ?? 0;
  const literal = yaml.isScalar(value) && value.type === yaml.Scalar.BLOCK_LITERAL;
  reader.spans.set(pointerOf(path), { key: start, value: startOf(value) ?? start, literal });
  return plain(value, path, reader);
}

function scalar({ value, source }: yaml.Scalar, at: number, found: Reader['found']): unknown {
  if (typeof value === 'object' && value !== null) return source;
  // 0o17, 0x1f, 1e3, 1.5, +1 and .inf are numbers of the core schema, and not of a policy.
  if (typeof value === 'number' && !(Number.isSafeInteger(value) && /^(?:0|-?[1-9][0-9]*)$/.test(source ?? ''))) {
    found('yaml', at, `a number that is not a plain decimal integer: ${source}; put it in quotes if it is text`);
  }
  return value;
}

/**
 * Whether a scalar stands without quotes and is text here, and something else to another reader.
 */
function isAmbiguous(node: unknown): boolean {
  return (
    yaml.isScalar(node) &&
    node.type === yaml.Scalar.PLAIN &&
    typeof node.value === 'string' &&
    OTHERWISE.test(node.value)
  );
}

function otherwise(text: string): string {
  return `${text} is not text to every reader of YAML; put it in quotes`;
}

function startOf(node: unknown): number | undefined {
  return yaml.isNode(node) ? node.range?.[0] : undefined;
}

function locate(
  issue: PolicyIssue,
  spans: ReadonlyMap<string, Span>,
  lines: yaml.LineCounter,
  text: string,
): PolicyIssue {
  if (issue.line !== undefined) return issue;
  const { within, ...rest } = issue;
  for (let at = issue.pointer; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const span = spans.get(at);
    if (span && at === issue.pointer && within && span.literal)
      return { ...rest, ...placeWithin(span, within, lines, text) };
    // An unknown key has the key's place. A missing key has the place of its entry, found by the
    // entry's key.
    if (span)
      return { ...rest, ...placeOf(lines, at === issue.pointer && issue.code !== 'unknown' ? span.value : span.key) };
    if (at === '') return { ...rest, line: 1, column: 1 };
  }
}

/**
 * Place within a block of text. The block begins on the line after its header, and all its lines
 * have the indentation of the first.
 */
function placeWithin({ value }: Span, within: Place, lines: yaml.LineCounter, text: string): Place {
  const header = placeOf(lines, value).line;
  const first = text
    .split('\n')
    .slice(header)
    .find((line) => line.trim() !== '');
  const indent = first === undefined ? 0 : first.length - first.trimStart().length;
  return { line: header + within.line, column: indent + within.column };
}

function placeOf(lines: yaml.LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function words(message: string): string {
  const [first = 'not YAML'] = message.split('\n');
  return first.charAt(0).toLowerCase() + first.slice(1);
}
