/** What a run of tests leaves out where a locked input is nowhere: it is said, and where `CI=true` it fails the run. */
import { matchesGlob } from 'node:path';
import type { Finding } from '../image/src/index.ts';

/** Tests that build the published image, or boot it. */
const NEED_INPUTS = ['test/**/*.vm.test.ts', 'test/image-documents.test.ts'];

/** Files that cannot run without the inputs of the image, and of what starts it. */
export function wantingInputs(files: Iterable<string>): string[] {
  return [...files].filter((file) => NEED_INPUTS.some((glob) => matchesGlob(file, glob)));
}

/** Why they are not run, as `mayLack` (test/support/machine-needs.ts) excuses no machine; null where each input is found. */
export function reasonWithout(findings: readonly Finding[]): string | null {
  const lost = findings.filter(({ found }) => found === null).map(({ input }) => `${input.name} ${input.version}`);
  return lost.length === 0 ? null : `not run: input ${lost.join(', ')} is nowhere (docs/reproduce.md)`;
}
