/** Times of one step: median and 99th percentile of many runs, printed as a line. */

const WIDTH = 58;

/** The head of a table of {@link measure} lines. */
export function head(runs: number): void {
  console.log(`${`ms over ${runs} runs`.padEnd(WIDTH)}${'p50'.padStart(9)}${'p99'.padStart(9)}`);
}

/** Measures `step` in milliseconds, after a tenth of the runs unmeasured. */
export async function measure(name: string, runs: number, step: () => unknown): Promise<void> {
  for (let i = 0; i < runs / 10; i++) await step();
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const began = performance.now();
    await step();
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const at = (quantile: number): string => (times[Math.floor(times.length * quantile)] ?? 0).toFixed(3).padStart(9);
  console.log(`${name.padEnd(WIDTH)}${at(0.5)}${at(0.99)}`);
}
