/**
 * `enclaim image inputs`: every locked input and where it is found; an archive of them; substitutes
 * for lost ones.
 */
import {
  type FetchOptions,
  type Finding,
  findInputs,
  groupsHere,
  inputsOf,
  isPublished,
  type Locks,
  readLocks,
  refuseNowhere,
  saveArchive,
  substituteLocks,
  type UsedInput,
  writeLocks,
} from '@enclaim/image';
import type { Command } from 'commander';
import { printable } from '../printable.ts';
import { UsageError } from '../usage-error.ts';

interface InputsOptions {
  readonly save?: string;
  readonly substitute?: string;
  readonly all?: true;
  readonly json?: true;
  readonly mirror?: string[];
}

export function register(image: Command): void {
  image
    .command('inputs')
    .description('look for every locked input by its hash, and say where it is found')
    .option('--all', 'also what other Debian releases and the tests need')
    .option('--save <folder>', 'write all of them as an archive by content, to publish with a release')
    .option('--substitute <folder>', 'where one is nowhere: write locks there with the newest of its suite instead')
    .option('--mirror <url...>', "Debian mirrors to fetch from (default: this machine's apt sources)")
    .option('--json', 'the list as JSON')
    .action(inputs);
}

async function inputs({ save, substitute, all, json, mirror }: InputsOptions): Promise<void> {
  if (save !== undefined && substitute !== undefined)
    throw new UsageError('an archive is of the locked inputs: --save or --substitute');
  const options: FetchOptions = mirror === undefined ? {} : { mirrors: mirror };
  const locks = await readLocks();
  const used = inputsOf(locks, all || save !== undefined ? undefined : await groupsHere());
  const findings = await findInputs(
    used.map(({ input }) => input),
    options,
  );
  if (json) console.log(JSON.stringify(used.map(asJson(findings)), null, 2));
  else for (const [index, one] of used.entries()) console.log(lineOf(one, findings[index]));
  if (substitute !== undefined) return standIn(locks, findings, substitute, options);
  refuseNowhere(findings);
  if (save === undefined) return;
  await saveArchive(used, findings, save);
  console.error(`${save}: an archive of ${used.length} inputs, for ENCLAIM_ARCHIVE`);
}

/** Writes the locks with what stands in, or nothing if every input is as locked. */
async function standIn(
  locks: Locks,
  findings: readonly Finding[],
  folder: string,
  options: FetchOptions,
): Promise<void> {
  const nowhere = findings.filter(({ found }) => found === null).map(({ input }) => input);
  if (nowhere.length === 0) return console.error('every input is as locked');
  const own = await substituteLocks(locks, nowhere, options);
  await writeLocks(folder, own.locks);
  for (const { name, from, to } of own.changes) console.error(`${name} is nowhere\n  from ${from}\n  to   ${to}`);
  const published = isPublished(own.locks, locks);
  console.error(published ? 'the image is made of what is locked' : 'an image of these locks is NOT THE PUBLISHED ONE');
}

const asJson =
  (findings: readonly Finding[]) =>
  ({ input, uses }: UsedInput, index: number): object => {
    const { found = null, failures = [] } = findings[index] ?? {};
    return { ...input, uses, found: found?.place ?? null, failures };
  };

function lineOf({ input, uses }: UsedInput, finding: Finding | undefined): string {
  const { name, version, size, sha256 } = input;
  const from = input.kind === 'deb' ? input.suite : 'npm';
  const place = printable(finding?.found?.place ?? 'NOWHERE');
  return `${name} ${version}\n  sha256:${sha256}  ${size} bytes  ${from}  for ${uses.join(', ')}  found: ${place}`;
}
