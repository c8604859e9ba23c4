/**
 * Tests that a run leaves out if a locked input is nowhere. The run says so, and fails if
 * `CI=true`.
 */
import { matchesGlob } from 'node:path';
import type { Finding } from '../image/src/index.ts';

/** Tests that build the published image, or boot it. */
const NEED_INPUTS = ['test/**/*.vm.test.ts', 'test/image-documents.test.ts'];

/** Files that cannot run without the inputs of the image, and of what starts it. */
export function wantingInputs(files: Iterable<string>): string[] {
  return [...files].filter((file) => NEED_INPUTS.some((glob) => matchesGlob(file, glob)));
}

/**
 * Why the tests that want inputs are not run; null if each input is found. `mayLack`
 * (test/support/machine-needs.ts) excuses no machine from this reason.
 */
export function reasonWithout(findings: readonly Finding[]): string | null {
  const lost = findings.filter(({ found }) => found === null).map(({ input }) => `${input.name} ${input.version}`);
  return lost.length === 0 ? null : `not run: input ${lost.join(', ')} is nowhere (docs/audit/reproduce.md)`;
}
