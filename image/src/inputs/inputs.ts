/**
 * The inputs of the project's locks: a list of them, substitutes for those that are nowhere, and an
 * archive of all.
 */
import { mkdir, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ImageError } from '../errors.ts';
import { type FetchOptions, type Finding, findInputs, readLocked, refuseNowhere, writeWhole } from './fetch.ts';
import { formatLock, type Lock, type LockedInput, readLock } from './lock.ts';
import { debianRelease, formatMachineLock, type MachineLock, readMachineLock } from './machine-lock.ts';
import { projectRoot, readBounded } from './places.ts';
import { type LockChange, substitute } from './update.ts';

/** The locks of a checkout: of the image, and of what starts it. */
export interface Locks {
  readonly image: Lock;
  readonly machine: MachineLock;
}

/** An input with what it is for: `image`, or a group of the machines' lock. */
export interface UsedInput {
  readonly input: LockedInput;
  readonly uses: readonly string[];
}

const FILES = { image: 'lock.json', machine: 'machine.lock.json' } as const;
const COMMITTED = join(projectRoot, 'image');

/**
 * The locks that lie in a folder.
 * @param folder - Default: the committed ones.
 * @throws ImageError `lock-invalid`
 */
export async function readLocks(folder: string = COMMITTED): Promise<Locks> {
  return {
    image: await readLock(join(folder, FILES.image)),
    machine: await readMachineLock(join(folder, FILES.machine)),
  };
}

/**
 * Lists all inputs of locks, each once. If groups of the machines' lock are named, only these
 * groups are listed.
 */
export function inputsOf({ image, machine }: Locks, groups: readonly string[] = Object.keys(machine)): UsedInput[] {
  const all = new Map<string, { input: LockedInput; uses: string[] }>();
  const add = (use: string, inputs: readonly LockedInput[]): void => {
    for (const input of inputs) {
      const one = all.get(input.sha256) ?? { input, uses: [] };
      all.set(input.sha256, one);
      one.uses.push(use);
    }
  };
  add('image', image.inputs);
  for (const group of groups) add(group, machine[group] ?? []);
  return [...all.values()].sort((a, b) => (orderOf(a.input) < orderOf(b.input) ? -1 : 1));
}

/** Groups of the machines' lock that this computer starts machines with. */
export async function groupsHere(): Promise<string[]> {
  return ['any', await debianRelease()];
}

function orderOf({ name, sha256 }: LockedInput): string {
  return `${name} ${sha256}`;
}

/**
 * Writes an archive by content: `sha256/HEX` for each input, and last `index.json`, which names
 * them for people. The same locks give the same bytes.
 * @param findings - Of `findInputs`, for the inputs.
 * @throws ImageError `input-nowhere` if one is missing: then there is no index; `output-failed`
 */
export async function saveArchive(
  used: readonly UsedInput[],
  findings: readonly Finding[],
  folder: string,
): Promise<void> {
  refuseNowhere(findings);
  const paths = new Map(findings.map(({ input, found }) => [input, found?.path ?? '']));
  const target = join(folder, 'sha256');
  await mkdir(target, { recursive: true }).catch((cause) => {
    throw new ImageError('output-failed', `cannot make ${target}`, { cause });
  });
  for (const { input } of used) {
    const file = join(target, input.sha256);
    const bytes = await readLocked(input, new Map([[input.name, paths.get(input) ?? '']]));
    const there = await readBounded(file, input.size).catch(() => null);
    if (there === null || !Buffer.from(there).equals(bytes)) await writeWhole(file, bytes);
  }
  const index = used.map(({ input, uses }) => ({ ...input, uses }));
  await writeWhole(join(folder, 'index.json'), `${JSON.stringify({ enclaim: 'inputs/1', inputs: index }, null, 2)}\n`);
}

/** Locks with the newest versions in place of what is nowhere. */
export interface SubstitutedLocks {
  readonly locks: Locks;
  readonly changes: readonly LockChange[];
}

/**
 * Puts the newest version that its suite's signed index gives in the place of each input that is
 * nowhere, and looks for that. If the image's lock changes, **an image of it is not the published
 * one**. An audit never does this.
 * @param nowhere - Of the inputs of the locks.
 * @throws ImageError as `substitute`; `input-nowhere` if a substitute is nowhere, too
 */
export async function substituteLocks(
  { image, machine }: Locks,
  nowhere: readonly LockedInput[],
  options: FetchOptions = {},
): Promise<SubstitutedLocks> {
  const missing = new Set(nowhere.map(({ sha256 }) => sha256));
  const changes: LockChange[] = [];
  const replaced: LockedInput[] = [];
  const replace = async (inputs: readonly LockedInput[]): Promise<readonly LockedInput[]> => {
    const gone = inputs.filter(({ sha256 }) => missing.has(sha256));
    if (gone.length === 0) return inputs;
    const found = await substitute(inputs, gone, options);
    changes.push(...found.changes);
    replaced.push(...found.inputs.filter((input) => !inputs.includes(input)));
    return found.inputs;
  };
  const own: Record<string, readonly LockedInput[]> = {};
  const lock: Lock = { version: 1, inputs: await replace(image.inputs) };
  for (const [group, inputs] of Object.entries(machine)) own[group] = await replace(inputs);
  refuseNowhere(await findInputs(replaced, options));
  return { locks: { image: lock, machine: own }, changes };
}

/**
 * Writes locks into a folder of their own.
 * @throws ImageError `output-failed`, also for the folder of the committed ones
 */
export async function writeLocks(folder: string, { image, machine }: Locks): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause) => {
    throw new ImageError('output-failed', `cannot make ${folder}`, { cause });
  });
  if ((await realpath(resolve(folder))) === (await realpath(COMMITTED)))
    throw new ImageError('output-failed', `${folder} has the committed locks, which nothing stands in for`);
  await writeWhole(join(folder, FILES.image), formatLock(image.inputs));
  await writeWhole(join(folder, FILES.machine), formatMachineLock(machine));
}

/** Whether an image of these locks is the published one, as far as its inputs go. */
export function isPublished(own: Locks, committed: Locks): boolean {
  return formatLock(own.image.inputs) === formatLock(committed.image.inputs);
}
