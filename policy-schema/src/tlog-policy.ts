/**
 * The text of C2SP tlog-policy: logs, witnesses, groups of them, and the quorum that makes a
 * checkpoint count.
 *
 * Keys stay text here. What kinds of key they are is for the room that verifies signatures.
 */

/** A log or a witness as its line names it. */
export interface PolicyKey {
  /** `name+id+key`, as C2SP signed-note publishes verifier keys. */
  readonly vkey: string;
  /** Where to reach it, or undefined. */
  readonly url: string | undefined;
}

/** A group counts as a witness once `threshold` of its members do. */
export interface WitnessGroup {
  readonly threshold: number;
  /** Witnesses and groups, each of which is a member of one group at most. */
  readonly members: readonly string[];
}

/** A policy as its lines say. */
export interface TlogPolicy {
  readonly logs: readonly PolicyKey[];
  readonly witnesses: ReadonlyMap<string, PolicyKey>;
  readonly groups: ReadonlyMap<string, WitnessGroup>;
  /** A witness or a group; `none` demands no cosignature. */
  readonly quorum: string;
}

/** Why lines are no policy. */
export interface TlogPolicyFault {
  /** 1-based; 0 if no line is at fault. */
  readonly line: number;
  /** For people: found and expected. */
  readonly why: string;
}

export type TlogPolicyReading = { readonly policy: TlogPolicy } | { readonly fault: TlogPolicyFault };

const MAX_TEXT_CHARACTERS = 1 << 18;
const MAX_LOGS = 64;
const MAX_WITNESSES = 64;
const MAX_GROUPS = 64;
const NONE = 'none';
const VKEY = /^[^ \t+]+\+[0-9a-f]{8}\+([A-Za-z0-9+/]+={0,2})$/;

/**
 * Reads a policy's text, which defines every name before it is used.
 *
 * @param text octets as characters: names are compared as they are, and only space and tab divide
 */
export function readTlogPolicy(text: string): TlogPolicyReading {
  if (text.length > MAX_TEXT_CHARACTERS)
    return faultOf(0, `${text.length} characters, of ${MAX_TEXT_CHARACTERS} at most`);
  const builder = new PolicyBuilder();
  for (const [index, line] of text.split('\n').entries()) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    const why = /[\u0000-\u0008\u000a-\u001f\u007f]/.test(line) ? 'a control character' : builder.take(wordsOf(line));
    if (why !== undefined) return faultOf(index + 1, why);
  }
  const policy = builder.build();
  return policy === undefined ? faultOf(0, 'no quorum line') : { policy };
}

/**
 * Reads lines that stand in any order, as a set does: witnesses come first, then each group after
 * its members, then the quorum. Bare verifier keys, and nothing else, are witnesses that must all
 * cosign. The line of a fault is the place in `lines`, from 1.
 */
export function readWitnessLines(lines: readonly string[]): TlogPolicyReading {
  if (lines.length > 0 && lines.every((line) => VKEY.test(line))) return readWitnessLines(linesOfKeys(lines));
  const words = lines.map(wordsOf);
  const other = words.findIndex(([kind]) => kind !== 'witness' && kind !== 'group' && kind !== 'quorum');
  if (other >= 0) return faultOf(other + 1, 'expected a line of witness, group or quorum');
  const order = orderOf(words);
  const read = readTlogPolicy(order.map((at) => lines[at]).join('\n'));
  if ('policy' in read || read.fault.line === 0) return read;
  return faultOf((order[read.fault.line - 1] ?? -1) + 1, read.fault.why);
}

/** Every witness of a list of keys must cosign. */
function linesOfKeys(keys: readonly string[]): string[] {
  const names = keys.map((_key, index) => `w${index + 1}`);
  const witnesses = keys.map((key, index) => `witness ${names[index]} ${key}`);
  return [...witnesses, `group every all ${names.join(' ')}`, 'quorum every'];
}

/**
 * Places of lines, so that each group follows its members. Groups of a circle come last, where
 * their members are still unknown and the reader refuses them.
 */
function orderOf(lines: readonly (readonly string[])[]): number[] {
  const places = [...lines.keys()];
  const ofKind = (kind: string): number[] => places.filter((at) => lines[at]?.[0] === kind);
  const waiting = new Set(ofKind('group'));
  const ordered: number[] = [];
  for (let before = -1; before !== ordered.length; ) {
    before = ordered.length;
    const undefinedNames = new Set([...waiting].map((at) => lines[at]?.[1]));
    const ready = [...waiting].filter((at) => !(lines[at]?.slice(3) ?? []).some((name) => undefinedNames.has(name)));
    for (const at of ready) waiting.delete(at);
    ordered.push(...ready);
  }
  return [...ofKind('witness'), ...ordered, ...waiting, ...ofKind('quorum')];
}

/** The line's items. None of a comment or an empty line. */
function wordsOf(line: string): string[] {
  const words = line.split(/[ \t]+/).filter((word) => word !== '');
  return words[0]?.startsWith('#') ? [] : words;
}

/** A policy under way: `take` reads a line, or gives the reason why it is refused. */
class PolicyBuilder {
  readonly #logs: PolicyKey[] = [];
  readonly #witnesses = new Map<string, PolicyKey>();
  readonly #groups = new Map<string, WitnessGroup>();
  /** Names that are a member of a group already. */
  readonly #members = new Set<string>();
  readonly #logKeys = new Set<string>();
  readonly #witnessKeys = new Set<string>();
  #quorum: string | undefined;

  take([kind, ...words]: readonly string[]): string | undefined {
    if (kind === undefined) return undefined;
    if (kind === 'log') return this.#takeLog(words);
    if (kind === 'witness') return this.#takeWitness(words);
    if (kind === 'group') return this.#takeGroup(words);
    if (kind === 'quorum') return this.#takeQuorum(words);
    return 'expected a line of log, witness, group or quorum';
  }

  build(): TlogPolicy | undefined {
    if (this.#quorum === undefined) return undefined;
    return { logs: this.#logs, witnesses: this.#witnesses, groups: this.#groups, quorum: this.#quorum };
  }

  #takeLog(words: readonly string[]): string | undefined {
    const [vkey = '', url] = words;
    if (words.length < 1 || words.length > 2) return 'expected log, a verifier key, and a URL or nothing';
    if (this.#logs.length === MAX_LOGS) return `more than ${MAX_LOGS} logs`;
    const why = takeKey(vkey, this.#logKeys);
    if (why === undefined) this.#logs.push({ vkey, url });
    return why;
  }

  #takeWitness(words: readonly string[]): string | undefined {
    const [name = '', vkey = '', url] = words;
    if (words.length < 2 || words.length > 3) return 'expected witness, a name, a verifier key, and a URL or nothing';
    if (this.#witnesses.size === MAX_WITNESSES) return `more than ${MAX_WITNESSES} witnesses`;
    const why = this.#whyNotNew(name) ?? takeKey(vkey, this.#witnessKeys);
    if (why === undefined) this.#witnesses.set(name, { vkey, url });
    return why;
  }

  #takeGroup(words: readonly string[]): string | undefined {
    const [name = '', count = '', ...members] = words;
    if (members.length === 0) return 'expected group, a name, all, any or a number, and its members';
    if (this.#groups.size === MAX_GROUPS) return `more than ${MAX_GROUPS} groups`;
    const taken = this.#whyNotNew(name);
    if (taken !== undefined) return taken;
    for (const member of members) {
      if (!this.#isKnown(member)) return `member ${member} is not defined before`;
      if (this.#members.has(member)) return `${member} is a member twice`;
      this.#members.add(member);
    }
    const threshold = count === 'all' ? members.length : count === 'any' ? 1 : numberOf(count);
    if (!(threshold >= 1 && threshold <= members.length)) return `${count} of ${members.length} members`;
    this.#groups.set(name, { threshold, members });
    return undefined;
  }

  #takeQuorum(words: readonly string[]): string | undefined {
    const [name = ''] = words;
    if (words.length !== 1) return 'expected quorum and one name';
    if (this.#quorum !== undefined) return 'a second quorum line';
    if (name !== NONE && !this.#isKnown(name)) return `quorum ${name} is not defined before`;
    this.#quorum = name;
    return undefined;
  }

  #isKnown(name: string): boolean {
    return this.#witnesses.has(name) || this.#groups.has(name);
  }

  #whyNotNew(name: string): string | undefined {
    if (name === NONE) return `${NONE} is a name of the format`;
    return this.#isKnown(name) ? `${name} is defined twice` : undefined;
  }
}

/** Refuses what is no verifier key, and a key that stands there under any name already. */
function takeKey(vkey: string, taken: Set<string>): string | undefined {
  const [, encoded = ''] = VKEY.exec(vkey) ?? [];
  const key = keyBytes(encoded);
  if (key === '') return 'not a verifier key of the form name+id+key';
  if (taken.has(key)) return 'the same key twice';
  taken.add(key);
  return undefined;
}

/** The key without the byte of its algorithm, as octets. Empty if it is none. */
function keyBytes(encoded: string): string {
  try {
    return atob(encoded).slice(1);
  } catch {
    return '';
  }
}

/** Not a number: one that is in no range. */
function numberOf(text: string): number {
  return /^[1-9][0-9]{0,3}$/.test(text) ? Number(text) : Number.NaN;
}

function faultOf(line: number, why: string): TlogPolicyReading {
  return { fault: { line, why } };
}

/** Sets of witnesses above this number are not told one by one. */
const MAX_CLAUSES = 256;

/**
 * The quorum of lines as sets of verifier keys: it is reached if and only if one key of each set
 * has cosigned. No set holds another.
 *
 * @returns undefined where there are more than 256 sets; none for lines that are no policy
 */
export function quorumClauses(lines: readonly string[]): string[][] | undefined {
  const reading = lines.length === 0 ? undefined : readWitnessLines(lines);
  return reading === undefined || 'fault' in reading ? [] : clausesOf(reading.policy, reading.policy.quorum);
}

/**
 * Sets that hold one witness at least of each way to reach `name`. Of a group of k among n, they
 * are those of any n - k + 1 members together.
 */
function clausesOf(policy: TlogPolicy, name: string): string[][] | undefined {
  const group = policy.groups.get(name);
  if (group === undefined) return [[policy.witnesses.get(name)?.vkey ?? '']].filter(() => name !== NONE);
  const missing = group.members.length - group.threshold + 1;
  // By the number of members: unions of one set of each.
  const unions: string[][][] = [[[]]];
  for (const member of group.members) {
    const own = clausesOf(policy, member);
    if (own === undefined) return undefined;
    for (let count = Math.min(unions.length, missing); count > 0; count--) {
      const longer = (unions[count - 1] ?? []).flatMap((set) => own.map((clause) => [...set, ...clause]));
      const sets = [...(unions[count] ?? []), ...longer];
      if (sets.length > MAX_CLAUSES) return undefined;
      unions[count] = sets;
    }
  }
  return unions[missing]?.map((set) => set.toSorted());
}
