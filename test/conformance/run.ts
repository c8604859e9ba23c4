/**
 * `npm run conformance [-- --vectors DIR] [--json]`: every case of every `DIR/<topic>/manifest.json` against this code.
 * Files are those of the manifest's roles, in PEM or DER. What the run cannot give to the code is counted apart from what
 * the code misses; neither is exact, and none is a skip. Exit 0: all exact but for what shortfall.ts names
 * with its reason, or no vectors here. A case that is named there and is exact now fails the run too.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { sayNotRun, VECTORS } from '../support/machine-needs.ts';
import { SHORTFALL } from './shortfall.ts';
import { CannotFeed, type Case, type Outcome, type Topic } from './topic.ts';

interface Miss {
  readonly id: string;
  readonly expected: unknown;
  readonly got: unknown;
}

interface Score {
  exact: number;
  total: number;
  readonly misses: Miss[];
  /** Cases that could not be given to the code, and why. */
  readonly unfed: { readonly id: string; readonly why: string }[];
}

interface Manifest {
  readonly topic: string;
  readonly cases: readonly Case[];
}

const { values: options } = parseArgs({
  options: { vectors: { type: 'string', default: VECTORS }, json: { type: 'boolean' } },
});

const manifests = await findManifests(resolve(options.vectors));
if (manifests.length === 0) {
  console.log(options.json ? JSON.stringify({ topics: {}, skipped: 'no vectors' }) : 'skipped: no vectors');
  sayNotRun('conformance', 'not run: no vectors');
} else {
  const implemented = await loadTopics();
  const topics: Record<string, Score> = {};
  for (const { dir, manifest } of manifests) {
    topics[manifest.topic] = await score(manifest, dir, implemented.get(manifest.topic), topics[manifest.topic]);
  }
  if (options.json) console.log(JSON.stringify({ topics }, jsonSafe));
  else print(topics);
  process.exitCode = surprises(topics).length === 0 ? 0 : 1;
}

async function findManifests(vectors: string): Promise<{ dir: string; manifest: Manifest }[]> {
  const found = [];
  for (const name of (await readdir(vectors).catch(absent)).sort()) {
    const dir = join(vectors, name);
    const text = await readFile(join(dir, 'manifest.json'), 'utf8').catch(absent);
    if (typeof text === 'string') found.push({ dir, manifest: JSON.parse(text) as Manifest });
  }
  return found;
}

async function loadTopics(): Promise<Map<string, Topic>> {
  const folder = join(import.meta.dirname, 'topics');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const topics = await Promise.all(names.map((name) => loadTopic(join(folder, name))));
  return new Map(topics.map((topic) => [topic.topic, topic]));
}

/** A module that does not load is a topic of which every case is missed, and no reason to judge no other. */
async function loadTopic(path: string): Promise<Topic> {
  try {
    return (await import(path)) as Topic;
  } catch (cause) {
    return { topic: basename(path, '.ts'), run: () => Promise.reject(cause) };
  }
}

async function score(
  manifest: Manifest,
  dir: string,
  topic: Topic | undefined,
  into: Score = { exact: 0, total: 0, misses: [], unfed: [] },
): Promise<Score> {
  for (const test of manifest.cases) {
    const outcome = await judge(topic, test, dir, manifest.cases);
    into.total++;
    if (outcome instanceof CannotFeed) into.unfed.push({ id: test.id, why: outcome.message });
    else if (outcome.exact) into.exact++;
    else into.misses.push({ id: test.id, expected: outcome.expected, got: outcome.got });
  }
  return into;
}

async function judge(
  topic: Topic | undefined,
  test: Case,
  dir: string,
  cases: readonly Case[],
): Promise<Outcome | CannotFeed> {
  if (!topic) return new CannotFeed('no such topic here');
  try {
    return await topic.run(test, dir, cases);
  } catch (error) {
    if (error instanceof CannotFeed) return error;
    return {
      exact: false,
      expected: test.expected,
      got: error instanceof Error ? `${error.name}: ${error.message}` : error,
    };
  }
}

function print(topics: Record<string, Score>): void {
  for (const [topic, { exact, total, misses, unfed }] of Object.entries(topics)) {
    console.log(`${topic}: ${exact} of ${total} exact`);
    for (const { id, why } of unfed) console.log(`  ${id}: cannot feed: ${why}`);
    for (const { id, expected, got } of misses) {
      console.log(`  ${id}: expected ${brief(expected)}, got ${brief(got)}`);
      const reason = SHORTFALL[topic]?.[id];
      if (reason !== undefined) console.log(`    known: ${reason}`);
    }
  }
  for (const surprise of surprises(topics)) console.log(surprise);
}

/** What differs from the known shortfall, in either direction. */
function surprises(topics: Record<string, Score>): string[] {
  return Object.entries(topics).flatMap(([topic, { misses, unfed }]) => {
    const known = Object.keys(SHORTFALL[topic] ?? {});
    const missed = misses.map(({ id }) => id);
    return [
      ...unfed.map(({ id }) => `cannot feed: ${topic} ${id}`),
      ...missed.filter((id) => !known.includes(id)).map((id) => `missed: ${topic} ${id}`),
      ...known.filter((id) => !missed.includes(id)).map((id) => `no longer a shortfall: ${topic} ${id}`),
    ];
  });
}

function brief(value: unknown): string {
  const text = JSON.stringify(value, jsonSafe) ?? String(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function jsonSafe(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

function absent(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
  throw error;
}
