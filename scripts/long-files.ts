/**
 * Test files that start first, because they take longest. At the end of a run, where the remaining
 * files are short, no processor is idle.
 */

/** From the root, the longest first (`scripts/test --times`). */
export const LONG_FILES: readonly string[] = [
  'test/vm/demo.vm.test.ts',
  'test/vm/disk.vm.test.ts',
  'test/vm/payroll.vm.test.ts',
  'test/reproduce-audit.vm.test.ts',
  'test/vm/proof.vm.test.ts',
  'test/reproduce-faults.vm.test.ts',
  'test/vm/image.vm.test.ts',
  'test/vm/governor.vm.test.ts',
  'test/vm/host.vm.test.ts',
  'test/vm/silicon.vm.test.ts',
  'test/vm/first-app.vm.test.ts',
  'test/vm/serve.vm.test.ts',
  'test/reproduce-bytes.vm.test.ts',
  'test/image-interrupted.test.ts',
  'test/vm/firmware.vm.test.ts',
  'test/vm/keeper.vm.test.ts',
  'test/vm/egress.vm.test.ts',
  'test/vm/hostile.vm.test.ts',
  'test/vm/linux.vm.test.ts',
  'test/packages-install.test.ts',
  'cli/test/image.test.ts',
  'test/vm/machine.vm.test.ts',
  'test/image-documents.test.ts',
  'test/properties.test.ts',
];

/** The same files, the long ones first. */
export function longestFirst(files: readonly string[]): string[] {
  const given = new Set(files);
  const first = LONG_FILES.filter((file) => given.delete(file));
  return [...first, ...given];
}
