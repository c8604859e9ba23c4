/** Cases judged by ours and by a peer's program, and what differs. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { DISAGREEMENTS, type Disagreement } from './disagreements.ts';
import { ours } from './ours.ts';
import { lineOf, type Trial, type Verdict } from './trial.ts';

/** Cases that a peer judges together: what waits in its pipe is bounded by them. */
const BATCH = 64;

/** What came of the cases of one kind. */
export interface Tally {
  cases: number;
  bothAccept: number;
  bothRefuse: number;
  /** Ours refuses what the peer accepts: how often, by ours' reason. */
  readonly stricter: Map<string, number>;
  /** Explained by a row of the table: how often, by its reason. */
  readonly explained: Map<Disagreement, number>;
  /** Accepted by ours alone, or read otherwise, and not explained: which cases, by what was said. */
  readonly unexplained: Map<string, string[]>;
}

/** A peer's program: it reads cases from stdin and writes verdicts to stdout, a line each, in order. */
export class Peer {
  readonly name: string;
  readonly #program: ReturnType<typeof spawn>;
  readonly #lines: AsyncIterator<string>;

  constructor(name: string, command: string, words: readonly string[] = []) {
    this.name = name;
    this.#program = spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdout } = this.#program;
    if (stdout === null) throw new TypeError('no stdout');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** Judges cases. */
  async judge(trials: readonly Trial[]): Promise<Verdict[]> {
    for (const { test } of trials) this.#program.stdin?.write(lineOf(test));
    const verdicts: Verdict[] = [];
    for (const { id } of trials) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new Error(`${this.name} ended at ${id}`);
      verdicts.push(JSON.parse(value) as Verdict);
    }
    return verdicts;
  }

  /** Ends the program. */
  async close(): Promise<void> {
    this.#program.stdin?.end();
    if (this.#program.exitCode === null) await once(this.#program, 'exit');
  }
}

/** Judges every case by both. */
export async function compare(peer: Peer, trials: Iterable<Trial>): Promise<Map<string, Tally>> {
  const tallies = new Map<string, Tally>();
  const batch: Trial[] = [];
  const flush = async (): Promise<void> => {
    const theirs = await peer.judge(batch);
    for (const [index, trial] of batch.entries()) {
      const { kind } = trial.test;
      const tally = tallies.get(kind) ?? newTally();
      tallies.set(kind, tally);
      count(tally, peer.name, trial, theirs[index] ?? { accept: false }, await ours(trial.test));
    }
    batch.length = 0;
  };
  for (const trial of trials) {
    if (batch.push(trial) === BATCH) await flush();
  }
  if (batch.length > 0) await flush();
  return tallies;
}

function newTally(): Tally {
  return { cases: 0, bothAccept: 0, bothRefuse: 0, stricter: new Map(), explained: new Map(), unexplained: new Map() };
}

function count(tally: Tally, peer: string, trial: Trial, theirs: Verdict, own: Verdict): void {
  tally.cases++;
  if (!own.accept) {
    if (theirs.accept) increase(tally.stricter, withoutNumbers(own.reason ?? ''));
    else tally.bothRefuse++;
    return;
  }
  if (theirs.accept && theirs.value === own.value) {
    tally.bothAccept++;
    return;
  }
  const row = DISAGREEMENTS.find(
    (one) => one.peer === peer && one.kind === trial.test.kind && one.holds(trial, theirs, own),
  );
  if (row !== undefined) increase(tally.explained, row);
  else {
    const [a, b] = theirs.accept ? [said(own), said(theirs)] : ['accepts', withoutNumbers(said(theirs))];
    const what = `ours ${a}, ${peer} ${b}`;
    tally.unexplained.set(what, [...(tally.unexplained.get(what) ?? []), trial.id]);
  }
}

function said({ accept, reason, value }: Verdict): string {
  return accept ? `accepts${value === undefined ? '' : ` as ${value}`}` : `refuses: ${reason}`;
}

/** So that reasons that differ in a value alone are counted together. */
function withoutNumbers(reason: string): string {
  return reason.replaceAll(/0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+/g, '#').slice(0, 120);
}

function increase<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
