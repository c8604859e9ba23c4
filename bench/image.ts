/**
 * `node bench/image.ts [--cold]`: size of the UKI by component, and how long a build takes, warm
 * and with nothing reused.
 */

import { buildImage, type Image } from '../image/src/index.ts';

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2).padStart(7)} MiB`;

await timed('first build (fetches what is missing)', {});
const image = await timed('warm build', {});
if (process.argv.includes('--cold')) await timed('build with nothing reused', { reuse: false });

const { artefacts, sections, contents } = image.manifest;
console.log(`\n${mebibytes(artefacts.uki.size)}  UKI`);
for (const { name, size } of sections) console.log(`${mebibytes(size)}    ${name}`);
console.log('\nunpacked, in the initrd:');
const kinds: readonly [string, RegExp][] = [
  ['Node', /^usr\/bin\/node$/],
  ['libraries', /\.so\.\d+$/],
  ['kernel modules', /\.ko$/],
  ['our programs', /^(enclaim\/|init$)/],
];
for (const [name, form] of kinds) {
  const total = contents.filter(({ path }) => form.test(path)).reduce((sum, { size }) => sum + size, 0);
  console.log(`${mebibytes(total)}    ${name}`);
}

async function timed(name: string, options: { reuse?: false }): Promise<Image> {
  const [began, before] = [performance.now(), process.cpuUsage()];
  const built = await buildImage(options);
  const { user, system } = process.cpuUsage(before);
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1).padStart(6)} s`;
  console.log(`${seconds(performance.now() - began)} wall ${seconds((user + system) / 1000)} CPU  ${name}`);
  return built;
}
