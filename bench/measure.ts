/**
 * Times of one step: median and 99th percentile of many runs by the clock, and the median of the
 * processor time that this process took, printed as a line. On a shared machine the processor time
 * is the one to compare.
 */

const WIDTH = 58;
const COLUMN = 9;

/** The head of a table of {@link measure} lines. */
export function head(runs: number): void {
  const columns = ['p50', 'p99', 'cpu p50'].map((name) => name.padStart(COLUMN)).join('');
  console.log(`${`ms over ${runs} runs`.padEnd(WIDTH)}${columns}`);
}

/** Measures `step` in milliseconds, after a tenth of the runs unmeasured. */
export async function measure(name: string, runs: number, step: () => unknown): Promise<void> {
  await measureInTurn(runs, [[name, step]]);
}

interface Row {
  readonly name: string;
  readonly step: () => unknown;
  readonly clock: number[];
  readonly processor: number[];
}

/**
 * Measures steps in turn, one run of each after the other, so that load of the machine meets them
 * alike. The last one is the floor: each line before it ends in its ratio to that, by medians of
 * processor time.
 */
export async function measureInTurn(
  runs: number,
  steps: readonly (readonly [name: string, step: () => unknown])[],
): Promise<void> {
  for (let i = 0; i < runs / 10; i++) for (const [, step] of steps) await step();
  const rows: Row[] = steps.map(([name, step]) => ({ name, step, clock: [], processor: [] }));
  for (let i = 0; i < runs; i++) for (const row of rows) await runOnce(row);
  const floor = quantile(rows.at(-1)?.processor ?? [], 0.5);
  for (const [index, { name, clock, processor }] of rows.entries()) {
    const times = [quantile(clock, 0.5), quantile(clock, 0.99), quantile(processor, 0.5)];
    const columns = times.map((time) => time.toFixed(3));
    if (index < rows.length - 1) columns.push(`${(quantile(processor, 0.5) / floor).toFixed(2)} ×`);
    console.log(`${name.padEnd(WIDTH)}${columns.map((column) => column.padStart(COLUMN)).join('')}`);
  }
}

async function runOnce({ step, clock, processor }: Row): Promise<void> {
  const before = process.cpuUsage();
  const began = performance.now();
  await step();
  clock.push(performance.now() - began);
  const { user, system } = process.cpuUsage(before);
  processor.push((user + system) / 1000);
}

function quantile(times: readonly number[], at: number): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * at)] ?? 0;
}
