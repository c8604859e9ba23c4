/**
 * nf_tables over netlink: tables, chains and rules as Linux's uapi/linux/netfilter/nf_tables.h lays
 * them out.
 */
import { concat, equalBytes, u32be, utf8 } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { LinuxError } from './error.ts';
import { attribute, converse, NETLINK, type NetlinkMessage, readAttributes } from './netlink.ts';

/**
 * One step of a rule, as the kernel takes it and shows it. The guest compares byte for byte what it
 * reads back.
 */
export type Expression = Uint8Array;

/** Where a chain sees packets. */
export type Hook = 'input' | 'forward' | 'output';

/** A chain that drops what no rule of it accepts. */
export interface Chain {
  readonly hook: Hook;
  /** In order; a packet that meets every step of one is accepted. */
  readonly rules: readonly (readonly Expression[])[];
}

const BATCH = { begin: 0x10, end: 0x11 } as const;
const SUBSYSTEM = 10;
const MESSAGE = { newTable: 0, getTable: 1, deleteTable: 2, newChain: 3, getChain: 4, newRule: 6, getRule: 7 } as const;
const INET = 1;
const ANY_FAMILY = 0;
const HOOKS: Readonly<Record<Hook, number>> = { input: 1, forward: 2, output: 3 };

const TABLE = { name: 1, flags: 2 } as const;
const CHAIN = { table: 1, name: 3, hook: 4, policy: 5, type: 7 } as const;
const HOOK = { number: 1, priority: 2 } as const;
const RULE = { table: 1, chain: 2, expressions: 4 } as const;
const ELEMENT = 1;
const EXPRESSION = { name: 1, data: 2 } as const;

/** Every rule works with this register; 0 takes the verdict. */
const REGISTER = u32be(1);
const VERDICT_REGISTER = u32be(0);
const DATA = { value: 1, verdict: 2 } as const;
const DROP = u32be(0);
const ACCEPT = u32be(1);

const META = { inputName: 6, outputName: 7, user: 10, family: 15, protocol: 16 } as const;
const HEADERS = { network: 1, transport: 2 } as const;
const COMPARE = { equal: 0, different: 1, atLeast: 5 } as const;

/**
 * Loads what the kernel knows about a packet: an interface's name (16 bytes), its socket's user (4,
 * little-endian), or one byte.
 */
export function meta(key: keyof typeof META): Expression {
  return expression('meta', attribute(2, u32be(META[key])), attribute(1, REGISTER));
}

/** Loads bytes of a packet's header. */
export function header(base: keyof typeof HEADERS, offset: number, length: number): Expression {
  const fields = [REGISTER, ...[HEADERS[base], offset, length].map(u32be)];
  return expression('payload', ...fields.map((value, index) => attribute(index + 1, value)));
}

/** Keeps the bits of what is loaded that `mask` has. */
export function masked(mask: Uint8Array): Expression {
  const zeros = new Uint8Array(mask.length);
  return expression(
    'bitwise',
    ...[REGISTER, REGISTER, u32be(mask.length)].map((value, index) => attribute(index + 1, value)),
    attribute(6, u32be(0)), // the operation: and, then exclusive or
    attribute(4, attribute(DATA.value, mask)),
    attribute(5, attribute(DATA.value, zeros)),
  );
}

/** Goes on only if what is loaded compares so with `value`, both as big-endian numbers. */
export function compare(how: keyof typeof COMPARE, value: Uint8Array): Expression {
  const parts = [REGISTER, u32be(COMPARE[how]), attribute(DATA.value, value)];
  return expression('cmp', ...parts.map((part, index) => attribute(index + 1, part)));
}

const accept: Expression = expression(
  'immediate',
  attribute(1, VERDICT_REGISTER),
  attribute(2, attribute(DATA.verdict, attribute(1, ACCEPT))),
);

function expression(name: string, ...data: readonly Uint8Array[]): Expression {
  return attribute(ELEMENT, attribute(EXPRESSION.name, text(name)), attribute(EXPRESSION.data, ...data));
}

/**
 * Puts a table with these chains, for IPv4 and IPv6, in the place of the one of that name, in one
 * step. Then reads every table of the kernel back.
 *
 * @throws LinuxError with the kernel's errno; EPROTO if what it shows is not exactly this.
 */
export function replaceTable(name: string, chains: readonly Chain[]): void {
  const batch = Buffer.from([0, 0, 0, SUBSYSTEM]);
  const table = {
    type: MESSAGE.newTable,
    parts: [attribute(TABLE.name, text(name)), attribute(TABLE.flags, u32be(0))],
  };
  const steps = [
    table, // so that there is one to delete
    { type: MESSAGE.deleteTable, parts: [attribute(TABLE.name, text(name))] },
    table,
    ...chains.map(({ hook }) => ({ type: MESSAGE.newChain, parts: chainParts(name, hook) })),
    ...chains.flatMap(({ hook, rules }) =>
      rules.map((rule) => ({ type: MESSAGE.newRule, parts: ruleParts(name, hook, rule) })),
    ),
  ];
  // Only the last step asks for an acknowledgement. The kernel takes all or none, and reports the
  // first step that it refuses without being asked.
  const last = steps.length - 1;
  converse('install the firewall', NETLINK.netfilter, [
    { type: BATCH.begin, flags: 0, body: batch },
    ...steps.map(({ type, parts }, index) => {
      const how = type === MESSAGE.deleteTable ? 0 : NETLINK.create | NETLINK.append;
      return message(type, how | (index === last ? NETLINK.acknowledge : 0), INET, parts);
    }),
    { type: BATCH.end, flags: 0, body: batch },
  ]);
  verifyTable(name, chains);
}

/**
 * Compares the kernel's tables with the given chains: no other table, no other chain, the same
 * rules in the same order.
 *
 * @throws LinuxError EPROTO.
 */
export function verifyTable(name: string, chains: readonly Chain[]): void {
  const tables = dump(MESSAGE.getTable);
  expectShown(
    'tables',
    tables.map((shown) => view(shown, TABLE.name, TABLE.flags)),
    [[text(name), u32be(0)]],
  );
  expectShown(
    'chains',
    dump(MESSAGE.getChain).map((shown) => view(shown, CHAIN.table, CHAIN.name, CHAIN.hook, CHAIN.policy, CHAIN.type)),
    chains.map(({ hook }) => {
      const shown = readAttributes(concat(...chainParts(name, hook)));
      return view(shown, CHAIN.table, CHAIN.name, CHAIN.hook, CHAIN.policy, CHAIN.type);
    }),
  );
  expectShown(
    'rules',
    dump(MESSAGE.getRule).map((shown) => view(shown, RULE.table, RULE.chain, RULE.expressions)),
    chains.flatMap(({ hook, rules }) => rules.map((rule) => [text(name), text(hook), concat(...rule, accept)])),
  );
}

function chainParts(table: string, hook: Hook): Uint8Array[] {
  return [
    attribute(CHAIN.table, text(table)),
    attribute(CHAIN.name, text(hook)),
    attribute(CHAIN.hook, attribute(HOOK.number, u32be(HOOKS[hook])), attribute(HOOK.priority, u32be(0))),
    attribute(CHAIN.policy, DROP),
    attribute(CHAIN.type, text('filter')),
  ];
}

function ruleParts(table: string, hook: Hook, rule: readonly Expression[]): Uint8Array[] {
  return [
    attribute(RULE.table, text(table)),
    attribute(RULE.chain, text(hook)),
    attribute(RULE.expressions, ...rule, accept),
  ];
}

/** Every object of a kind, of all families and tables. */
function dump(type: number): ReadonlyMap<number, Uint8Array>[] {
  const call = 'read the firewall back';
  try {
    return converse(call, NETLINK.netfilter, [message(type, NETLINK.dump, ANY_FAMILY, [])]).map(({ body }) =>
      readAttributes(body.subarray(4)),
    );
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new LinuxError('EPROTO', call, error.message);
  }
}

function view(shown: ReadonlyMap<number, Uint8Array>, ...types: readonly number[]): (Uint8Array | undefined)[] {
  return types.map((type) => shown.get(type));
}

function expectShown(
  what: string,
  found: readonly (readonly (Uint8Array | undefined)[])[],
  expected: readonly (readonly (Uint8Array | undefined)[])[],
): void {
  const differs = expected.findIndex((parts, index) =>
    parts.some((part, at) => !equalBytes(part ?? new Uint8Array(), found[index]?.[at] ?? new Uint8Array())),
  );
  if (found.length === expected.length && differs < 0) return;
  const detail = `${found.length} ${what}, expected ${expected.length}${differs < 0 ? '' : `; number ${differs} differs`}`;
  throw new LinuxError('EPROTO', 'read the firewall back', detail);
}

function message(type: number, flags: number, family: number, parts: readonly Uint8Array[]): NetlinkMessage {
  return { type: (SUBSYSTEM << 8) | type, flags, body: concat(Uint8Array.of(family, 0, 0, 0), ...parts) };
}

function text(value: string): Uint8Array {
  return utf8(`${value}\0`);
}
