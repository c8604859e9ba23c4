/** Times of one step: median and 99th percentile of many runs, printed as a line. */

const WIDTH = 58;

/** The head of a table of {@link measure} lines. */
export function head(runs: number): void {
  console.log(`${`ms over ${runs} runs`.padEnd(WIDTH)}${'p50'.padStart(9)}${'p99'.padStart(9)}`);
}

/** Measures `step` in milliseconds, after a tenth of the runs unmeasured. */
export async function measure(name: string, runs: number, step: () => unknown): Promise<void> {
  await measureInTurn(runs, [[name, step]]);
}

/**
 * Measures steps in turn, one run of each after the other, so that load of the machine meets them
 * alike. The last one is the floor: each line before it ends in its ratio to that, by medians.
 */
export async function measureInTurn(
  runs: number,
  steps: readonly (readonly [name: string, step: () => unknown])[],
): Promise<void> {
  for (let i = 0; i < runs / 10; i++) for (const [, step] of steps) await step();
  const rows = steps.map(([name, step]) => ({ name, step, times: [] as number[] }));
  for (let i = 0; i < runs; i++) {
    for (const { step, times } of rows) {
      const began = performance.now();
      await step();
      times.push(performance.now() - began);
    }
  }
  for (const { times } of rows) times.sort((a, b) => a - b);
  const at = (times: readonly number[], quantile: number): number => times[Math.floor(times.length * quantile)] ?? 0;
  const floor = at(rows.at(-1)?.times ?? [], 0.5);
  for (const [index, { name, times }] of rows.entries()) {
    const [p50, p99] = [at(times, 0.5), at(times, 0.99)];
    const ratio = index === rows.length - 1 ? '' : `${(p50 / floor).toFixed(2)} ×`.padStart(9);
    console.log(`${name.padEnd(WIDTH)}${p50.toFixed(3).padStart(9)}${p99.toFixed(3).padStart(9)}${ratio}`);
  }
}
