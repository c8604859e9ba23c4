/**
 * Findings of the grammar, in words: schema issues as policy issues with a path into the document.
 */

import type * as z from 'zod';
import { type PolicyIssue, type PolicyIssueCode, pointerOf } from '../error.ts';
import { suggestion } from './suggestion.ts';

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

/**
 * An issue that still knows its path. With code `unknown`, or for an entry with a bad name, the
 * issue is about the key.
 */
export interface Finding extends PolicyIssue {
  readonly path: Path;
}

const FOUND: Readonly<Record<string, string>> = { object: 'a mapping', undefined: 'nothing' };

/** The findings of one issue that `schema` has with `document`. */
export function explain(issue: Issue, document: unknown, schema: z.core.$ZodType, base: Path = []): Finding[] {
  const path = [...base, ...issue.path];
  const value = valueAt(document, path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = keysAt(schema, path);
      return issue.keys.map((key) =>
        finding('unknown', [...path, key], `unknown key "${clip(key)}"${suggestion(key, known)}`),
      );
    }
    case 'invalid_union': {
      // If a value may have several forms, the form is meant that the value at least begins like.
      const meant = issue.errors.find(
        (branch) => !branch.some(({ path, code }) => path.length === 0 && /type|value/.test(code)),
      );
      if (meant) return meant.flatMap((inner) => explain(inner, document, schema, path));
      const forms = [...new Set(issue.errors.flat().map(expectation))].join(' or ');
      if (value === undefined) return [missing(path, forms)];
      return [finding('value', path, `expected ${forms}, found ${nameOf(value)}`)];
    }
    case 'invalid_key': {
      const [inner] = issue.issues;
      return [
        finding(
          'value',
          path,
          `${inner?.message ?? 'a key that is not allowed'}, found "${clip(String(path.at(-1)))}"`,
        ),
      ];
    }
    case 'invalid_type':
    case 'invalid_value': {
      if (value === undefined) return [missing(path, expectation(issue))];
      const code = issue.code === 'invalid_type' ? 'type' : 'value';
      const hint =
        issue.code === 'invalid_value' && typeof value === 'string'
          ? suggestion(
              value,
              issue.values.filter((each) => typeof each === 'string'),
            )
          : '';
      return [finding(code, path, `expected ${expectation(issue)}, found ${nameOf(value)}${hint}`)];
    }
    case 'too_big':
      return [
        finding(
          'value',
          path,
          issue.origin === 'string' ? issue.message : `expected at most ${issue.maximum}, found ${nameOf(value)}`,
        ),
      ];
    case 'too_small':
      return [finding('value', path, `expected at least ${issue.minimum}, found ${nameOf(value)}`)];
    default:
      return [finding('value', path, `${issue.message}, found ${nameOf(value)}`)];
  }
}

function missing(path: Path, expected: string): Finding {
  return finding('missing', path, `"${String(path.at(-1) ?? '')}" is missing: expected ${expected}`);
}

function finding(code: PolicyIssueCode, path: Path, message: string): Finding {
  return { code, severity: 'error', message, pointer: pointerOf(path), path };
}

function expectation(issue: Issue): string {
  if (issue.code === 'invalid_value') return issue.values.map((value) => JSON.stringify(value)).join(', ');
  if (issue.code === 'invalid_type') {
    const words: Readonly<Record<string, string>> = {
      array: 'a list',
      object: 'a mapping',
      record: 'a mapping',
      int: 'an integer',
      number: 'an integer',
      string: 'text',
    };
    return words[issue.expected] ?? issue.expected;
  }
  return issue.message.replace(/^expected /, '');
}

/** A value as found, short enough to print. */
function nameOf(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'string') return `"${clip(value)}"`;
  if (value === null) return 'nothing';
  return FOUND[typeof value] ?? String(value);
}

function clip(text: string): string {
  const visible = text.replace(/[\p{C}]/gu, '\ufffd');
  return visible.length > 60 ? `${visible.slice(0, 60)}…` : visible;
}

function valueAt(document: unknown, path: Path): unknown {
  let value = document;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = Reflect.get(value, step);
  }
  return value;
}

/** The keys that the grammar knows for the object at a path. */
function keysAt(schema: z.core.$ZodType, path: Path): string[] {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const [step, ...rest] = path;
  switch (def.type) {
    case 'default':
    case 'prefault':
    case 'optional':
      return keysAt(def.innerType, path);
    case 'union':
      return def.options.flatMap((option) => keysAt(option, path));
    case 'array':
      return keysAt(def.element, rest);
    case 'record':
      return step === undefined ? [] : keysAt(def.valueType, rest);
    case 'object': {
      if (step === undefined) return Object.keys(def.shape);
      const member = def.shape[String(step)];
      return member ? keysAt(member, rest) : [];
    }
    default:
      return [];
  }
}
