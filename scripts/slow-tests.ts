/** Test files of rooms that `npm run check` leaves to `scripts/test`, each with its reason. */

const COMMANDS = 'starts the command line, a second of processor each time';
const NETWORKS = 'makes network namespaces and waits for their firewall or router';

/** Reasons by file, from the root. */
export const SLOW_TESTS: Readonly<Record<string, string>> = {
  'attestation/test/report-fields.test.ts': 'signs a report for every byte of every layout',
  'cli/test/call-limits.test.ts': COMMANDS,
  'cli/test/disk.test.ts': COMMANDS,
  'cli/test/gen.test.ts': COMMANDS,
  'cli/test/image.test.ts': COMMANDS,
  'cli/test/help.test.ts': COMMANDS,
  'cli/test/input.test.ts': COMMANDS,
  'cli/test/key.test.ts': COMMANDS,
  'cli/test/measure.test.ts': COMMANDS,
  'cli/test/policy/cases.test.ts': COMMANDS,
  'cli/test/policy/check.test.ts': COMMANDS,
  'cli/test/policy/diff.test.ts': COMMANDS,
  'cli/test/policy/init.test.ts': COMMANDS,
  'cli/test/policy/policy.test.ts': COMMANDS,
  'cli/test/policy/staged.test.ts': COMMANDS,
  'cli/test/references.test.ts': COMMANDS,
  'cli/test/release.test.ts': COMMANDS,
  'cli/test/release-add.test.ts': COMMANDS,
  'cli/test/verify.test.ts': COMMANDS,
  'cli/test/log-disk.test.ts': COMMANDS,
  'guest/test/linux/firewall.test.ts': NETWORKS,
  'guest/test/linux/network.test.ts': NETWORKS,
  'image/test/audited-app.test.ts': 'builds apps in clean folders',
  'image/test/bundle.test.ts': 'compiles and bundles an app for every way to spoil it',
  'image/test/locked-packages.test.ts': 'asks registries of its own that lack, change and cut packages',
  'image/test/places.test.ts': 'asks servers of its own for every locked input in turn',
  'image/test/segment-cache.test.ts': 'packs and prunes segments at once in many processes',
  'policy-schema/test/hostile.test.ts': 'reads bombs whose work and memory are counted',
  'policy-schema/test/interface.test.ts': 'compiles .proto files for every property of a message',
  'runtime/test/detectors.test.ts': 'counts the work of near misses of every length',
  'runtime/test/log/crash.test.ts': 'opens a disk after every torn write of a log',
  'runtime/test/log/killed.test.ts': 'starts and kills processes',
  'runtime/test/log/tamper.test.ts': 'audits a disk after every tampering',
  'runtime/test/sealed/places.property.test.ts': 'boots a sealed store for every program, twice',
  'runtime/test/worker/unanswered.test.ts': 'waits until workers that do not let go are ended',
};
