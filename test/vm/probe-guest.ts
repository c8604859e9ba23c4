/** A guest that prints its command line and registers and powers off: for tests of the image alone. */
import { readFileSync } from 'node:fs';
import { loadModules, mountBase, neverExit, powerOff } from '../../guest/src/linux/index.ts';

neverExit((reason) => `probe: failed ${reason}`);
mountBase();
const modules = JSON.parse(readFileSync('/enclaim/modules.json', 'utf8'));
const report = {
  commandLine: readFileSync('/proc/cmdline', 'latin1').trimEnd(),
  loaded: loadModules(modules),
  registers: Object.fromEntries(Array.from({ length: 16 }, (_, index) => [index, register(index)])),
};
for (const part of JSON.stringify(report).match(/.{1,120}/g) ?? []) console.log(`probe:${part}`);
console.log('probe:end');
powerOff();

function register(index: number): string {
  return readFileSync(`/sys/class/tpm/tpm0/pcr-sha256/${index}`, 'latin1').trim().toLowerCase();
}
