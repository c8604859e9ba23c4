/**
 * Marks of defences in the sources, and what a source is like with one of them off. A mark is a comment of the form
 * `layer: NAME`, alone on its line above what it guards, at the end of its line, or as a block comment before an operand or
 * argument. What it guards is found in the syntax tree, so that formatting and moving change nothing.
 *
 * Off, by what is guarded: an `if`, or its condition, does not hold; an operand of `&&` and `||`, and any other statement, property or element
 * of a list is left out. `layer: NAME (off: VALUE)` says instead what a condition, operand, argument, returned or assigned
 * value is then: a literal, or an expression that stands in what is guarded.
 */

import { stripTypeScriptTypes } from 'node:module';
import { type AnyNode, type Comment, parse } from 'acorn';

/** A part of a source, by its place there. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A change of a source. */
export interface Change extends Span {
  readonly text: string;
}

/** A defence of a source. */
export interface Mark {
  readonly name: string;
  /** What is guarded. */
  readonly span: Span;
  /** Off by the grammar. @throws Error where the grammar has no off for what is guarded */
  off(): Change;
}

interface Placed {
  readonly node: AnyNode;
  readonly parent: AnyNode | undefined;
}

const MARK = /^\s*layer: (?<name>[^()]+?)(?: \(off: (?<value>.+)\))?\s*$/;
const LITERAL = /^(?:true|false|undefined|null|Infinity|0|[1-9]\d*|'[a-z]+')$/;

/** A source with its syntax. */
export class MarkedSource {
  readonly #text: string;
  readonly #nodes: readonly Placed[];
  readonly #comments: Comment[] = [];

  constructor(text: string) {
    this.#text = text;
    const script = stripTypeScriptTypes(text);
    if (script.length !== text.length) throw new Error('types leave no blanks of their length');
    const tree = parse(script, { ecmaVersion: 'latest', sourceType: 'module', onComment: this.#comments });
    this.#nodes = placed(tree, undefined);
  }

  /** Every mark, in its order. @throws Error where one guards nothing */
  get marks(): Mark[] {
    return this.#comments.flatMap((comment) => {
      const { name, value } = MARK.exec(comment.value)?.groups ?? {};
      if (name === undefined) return [];
      const guarded = this.#guardedBy(comment);
      if (guarded === undefined) throw new Error(`the mark ${name} guards nothing`);
      const { start, end } = guarded.node;
      return [{ name, span: { start, end }, off: () => this.#off(guarded, name, value) }];
    });
  }

  /** The value of a constant of the module, or of a property of it: `LIMITS.call`. Undefined where there is none. */
  constant(path: string): Span | undefined {
    const [name, ...properties] = path.split('.');
    const declared = this.#nodes.find(
      ({ node }) => node.type === 'VariableDeclarator' && node.id.type === 'Identifier' && node.id.name === name,
    )?.node;
    let value = declared?.type === 'VariableDeclarator' ? declared.init : undefined;
    for (const property of properties) {
      const members = value?.type === 'ObjectExpression' ? value.properties : [];
      const member = members.find(
        (each) => each.type === 'Property' && each.key.type === 'Identifier' && each.key.name === property,
      );
      value = member?.type === 'Property' ? (member.value as typeof value) : undefined;
    }
    return value ?? undefined;
  }

  #guardedBy(comment: Comment): Placed | undefined {
    const lineStart = this.#text.lastIndexOf('\n', comment.start) + 1;
    const isBehind = comment.type === 'Line' && this.#text.slice(lineStart, comment.start).trim() !== '';
    const from = isBehind ? lineStart : comment.end;
    const [first] = this.#nodes
      .filter(({ node }) => node.type !== 'Program' && node.start >= from)
      .toSorted((one, other) => one.node.start - other.node.start || other.node.end - one.node.end);
    if (first === undefined || (isBehind && first.node.start > comment.start)) return undefined;
    if (comment.type === 'Line') return first;
    return this.#nodes
      .filter(({ node, parent }) => node.start === first.node.start && isOperand(node, parent))
      .toSorted((one, other) => one.node.end - other.node.end)[0];
  }

  #off({ node, parent }: Placed, name: string, value: string | undefined): Change {
    if (value !== undefined) {
      if (!LITERAL.test(value) && !this.#stands(value, node))
        throw new Error(`${name}: (off: ${value}) is neither a literal nor a part of what is guarded`);
      const { start, end } = heldBy(node) ?? node;
      return { start, end, text: value };
    }
    const { start, end } = node;
    if (node.type === 'IfStatement') return { ...spanOf(node.test), text: 'false' };
    if (parent?.type === 'IfStatement' && node === parent.test) return { start, end, text: 'false' };
    if (parent?.type === 'LogicalExpression' && parent.operator !== '??')
      return { start, end, text: parent.operator === '&&' ? 'true' : 'false' };
    if (isMember(parent)) return { start, end: this.#behindComma(end), text: '' };
    if (node.type === 'VariableDeclaration' || !/Statement$/.test(node.type))
      throw new Error(`${name}: ${node.type} cannot be left out; what is it when off?`);
    return { start, end, text: ';' };
  }

  /** Whether a text is one whole part of what is guarded. */
  #stands(text: string, { start, end }: Span): boolean {
    return this.#nodes.some(
      ({ node }) => node.start >= start && node.end <= end && this.#text.slice(node.start, node.end) === text,
    );
  }

  #behindComma(end: number): number {
    return end + (/^\s*,/.exec(this.#text.slice(end))?.[0].length ?? 0);
  }
}

function placed(node: AnyNode, parent: AnyNode | undefined): Placed[] {
  const children = Object.values(node).flat() as unknown[];
  const isNode = (each: unknown): each is AnyNode =>
    typeof each === 'object' && each !== null && 'type' in each && 'start' in each;
  // A shorthand property has one node as its key and as its value.
  const below = new Set(children.filter(isNode));
  return [{ node, parent }, ...[...below].flatMap((child) => placed(child, node))];
}

function spanOf({ start, end }: Span): Span {
  return { start, end };
}

/** Whether something else is made of this expression as a whole. */
function isOperand(node: AnyNode, parent: AnyNode | undefined): boolean {
  switch (parent?.type) {
    case 'LogicalExpression':
    case 'ArrayExpression':
    case 'ReturnStatement':
    case 'ArrowFunctionExpression':
    case 'AwaitExpression':
    case 'YieldExpression':
    case 'ObjectExpression':
    case 'ConditionalExpression':
    case 'IfStatement':
    case 'WhileStatement':
      return true;
    case 'CallExpression':
    case 'NewExpression':
      return node !== parent.callee;
    case 'Property':
      return node === parent.value;
    case 'VariableDeclarator':
      return node === parent.init;
    case 'AssignmentExpression':
      return node === parent.right;
    default:
      return false;
  }
}

function isMember(parent: AnyNode | undefined): boolean {
  return parent?.type === 'ObjectExpression' || parent?.type === 'ArrayExpression';
}

/** What a statement or member is about: a condition, or a value that it gives, names or assigns. */
function heldBy(node: AnyNode): Span | null | undefined {
  switch (node.type) {
    case 'IfStatement':
    case 'WhileStatement':
      return node.test;
    case 'ReturnStatement':
      return node.argument;
    case 'VariableDeclaration':
      return node.declarations.length === 1 ? node.declarations[0]?.init : undefined;
    case 'ExpressionStatement':
      return node.expression.type === 'AssignmentExpression' ? node.expression.right : node.expression;
    case 'Property':
      return node.value;
    default:
      return undefined;
  }
}

/** A source with changes. @throws Error where two change the same part */
export function changed(text: string, changes: readonly Change[]): string {
  let behind = text.length;
  let made = text;
  for (const { start, end, text: instead } of changes.toSorted((one, other) => other.start - one.start)) {
    if (end > behind) throw new Error('two marks guard the same');
    made = made.slice(0, start) + instead + made.slice(end);
    behind = start;
  }
  return made;
}
