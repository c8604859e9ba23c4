/** Policies as people write them, in YAML 1.2 (core schema) or JSON, with the place of everything. */

import * as yaml from 'yaml';
import { cap, PolicyError, type PolicyIssue, type PolicyIssueCode, pointerOf, refuse } from './error.ts';
import { decodeUtf8, MAX_BYTES, MAX_DEPTH } from './json.ts';
import type { Policy } from './policy.ts';
import { type Reading, readPolicy } from './reading.ts';

/** What to call the document in messages, and the time to judge dates by. */
export interface ParseOptions {
  readonly file?: string;
  /** Milliseconds since 1970 UTC; given, what has expired by then is an error. */
  readonly asOf?: number;
}

/** A document's plain value, and where each part of it stands. */
export interface Source {
  readonly value: unknown;
  /** Place of the value at a pointer, or of its key; the nearest part around it where there is no such value. */
  place(pointer: string, key: boolean): Place;
}

/** A place in a document, 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

interface Span {
  readonly key: number;
  readonly value: number;
}

// As many parts as 256 KiB of the densest policy has; a document past it is not a policy.
const MAX_PARTS = 100_000;

/**
 * The policy of a document.
 * @throws PolicyError with at most 50 issues, each with its place
 */
export function parsePolicy(source: string | Uint8Array, options: ParseOptions = {}): Policy {
  const { policy, issues } = checkPolicy(source, options);
  if (!policy) throw new PolicyError(issues);
  return policy;
}

/** As {@link parsePolicy}, with warnings, and without throwing: the policy is absent where an issue is an error. */
export function checkPolicy(source: string | Uint8Array, { file, asOf }: ParseOptions = {}): Reading {
  const located = (issue: PolicyIssue, place?: Place): PolicyIssue => ({
    ...issue,
    ...(file === undefined ? {} : { file }),
    ...place,
  });
  try {
    const document = readSource(source);
    const { policy, issues } = readPolicy(document.value, asOf);
    const placed = issues.map((issue) => located(issue, document.place(issue.pointer, ABOUT_KEY.has(issue.code))));
    const ordered = placed.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
    return { ...(policy ? { policy } : {}), issues: cap(ordered) };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { issues: error.issues.map((issue) => located(issue)) };
  }
}

const ABOUT_KEY: ReadonlySet<PolicyIssueCode> = new Set(['unknown']);

/**
 * The plain value of a YAML or JSON document, for documents of this project's own grammars.
 * @throws PolicyError `size`, `encoding`, `syntax`, `depth`, `duplicate` or `yaml`
 */
export function readSource(source: string | Uint8Array): Source {
  const bytes = typeof source === 'string' ? new TextEncoder().encode(source) : source;
  if (bytes.length > MAX_BYTES) throw refuse('size', `${bytes.length} bytes where ${MAX_BYTES} are allowed`);
  const text = decodeUtf8(bytes);
  const lines = new yaml.LineCounter();
  const fail = (code: PolicyIssueCode, offset: number, message: string): PolicyError =>
    new PolicyError([{ code, severity: 'error', message, pointer: '', ...placeOf(lines, offset) }]);
  const tokens = [...new yaml.Parser(lines.addNewLine).parse(text)];
  bound(tokens, fail);
  const [document, second] = new yaml.Composer({ version: '1.2', schema: 'core', uniqueKeys: false }).compose(tokens);
  if (!document) throw fail('syntax', 0, 'an empty document');
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) throw new PolicyError(problems.map((problem) => syntaxIssue(problem, lines)));
  if (second) throw fail('yaml', second.range?.[0] ?? 0, 'a second document');
  const spans = new Map<string, Span>();
  const value = plain(document.contents, [], { spans, fail });
  return { value, place: (pointer, key) => placeOf(lines, nearest(spans, pointer, key)) };
}

interface Reader {
  readonly spans: Map<string, Span>;
  fail(code: PolicyIssueCode, offset: number, message: string): PolicyError;
}

/** Bounds depth and size before anything recursive sees the document. */
function bound(tokens: readonly yaml.CST.Token[], fail: Reader['fail']): void {
  const open: { token: yaml.CST.Token | null | undefined; depth: number }[] = tokens.map((token) => ({
    token,
    depth: 0,
  }));
  let parts = 0;
  for (let next = open.pop(); next; next = open.pop()) {
    const { token, depth } = next;
    if (!token) continue;
    if (++parts > MAX_PARTS) throw fail('depth', token.offset, `more than ${MAX_PARTS} parts`);
    if (token.type === 'document') open.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    if (depth === MAX_DEPTH) throw fail('depth', token.offset, `nested deeper than ${MAX_DEPTH} levels`);
    for (const item of token.items) {
      open.push({ token: item.key, depth: depth + 1 }, { token: item.value, depth: depth + 1 });
    }
  }
}

/** The plain value of a node. What could mean something else to another reader, or to a person, is refused. */
function plain(node: unknown, path: readonly string[], reader: Reader): unknown {
  const { spans, fail } = reader;
  if (node === null || node === undefined) return null;
  if (yaml.isAlias(node)) throw fail('yaml', node.range?.[0] ?? 0, 'an alias; write the value out');
  if (!yaml.isNode(node)) throw fail('yaml', 0, 'not a value');
  const at = node.range?.[0] ?? 0;
  if ('anchor' in node && node.anchor !== undefined) throw fail('yaml', at, 'an anchor; write the value out');
  if (node.tag !== undefined && node.srcToken === undefined) throw fail('yaml', at, 'a tag');
  if (yaml.isScalar(node)) return scalar(node, at, fail);
  const pointer = pointerOf(path);
  if (!spans.has(pointer)) spans.set(pointer, { key: at, value: at });
  if (yaml.isSeq(node)) {
    return node.items.map((item, i) => {
      const start = startOf(item) ?? at;
      spans.set(pointerOf([...path, i]), { key: start, value: start });
      return plain(item, [...path, String(i)], reader);
    });
  }
  const result: Record<string, unknown> = {};
  for (const { key, value } of (node as yaml.YAMLMap).items) {
    const start = startOf(key) ?? at;
    const name = plain(key, path, reader);
    if (typeof name !== 'string') throw fail('yaml', start, 'a key that is not text');
    if (name === '__proto__') throw fail('unknown', start, 'unknown key "__proto__"');
    if (Object.hasOwn(result, name)) throw fail('duplicate', start, `the key "${name}" stands here twice`);
    spans.set(pointerOf([...path, name]), { key: start, value: startOf(value) ?? start });
    result[name] = plain(value, [...path, name], reader);
  }
  return result;
}

function scalar({ value, source }: yaml.Scalar, at: number, fail: Reader['fail']): unknown {
  if (typeof value !== 'number') return value;
  if (!Number.isSafeInteger(value) || !/^(?:0|-?[1-9][0-9]*)$/.test(source ?? '')) {
    throw fail('yaml', at, `a number that is not a plain decimal integer: ${source}; put it in quotes if it is text`);
  }
  return value;
}

function startOf(node: unknown): number | undefined {
  return yaml.isNode(node) ? node.range?.[0] : undefined;
}

/** The place of a pointer, or of the closest thing around it that was written. */
function nearest(spans: ReadonlyMap<string, Span>, pointer: string, key: boolean): number {
  for (let at = pointer; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const span = spans.get(at);
    // What is missing is missing from an entry, and an entry is found by its key.
    if (span) return key || at !== pointer ? span.key : span.value;
    if (at === '') return 0;
  }
}

function placeOf(lines: yaml.LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function syntaxIssue({ message, pos }: yaml.YAMLError, lines: yaml.LineCounter): PolicyIssue {
  const [first = 'not YAML'] = message.split('\n');
  const words = first.charAt(0).toLowerCase() + first.slice(1);
  return { code: 'syntax', severity: 'error', message: words, pointer: '', ...placeOf(lines, pos[0]) };
}
