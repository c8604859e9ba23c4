/** A guest that measures as ours does, prints its command line and registers, and powers off: for tests of the image alone. */
import { existsSync, readFileSync } from 'node:fs';
import { type DigestText, parseDigest } from '../../attestation/src/digest.ts';
import { BUNDLE_REGISTER, bundleEvent, POLICY_REGISTER, policyEvent } from '../../attestation/src/measure/index.ts';
import { loadModules, mountBase, neverExit, powerOff, readCommandLine } from '../../guest/src/linux/index.ts';
import { openAttester, openTpmDevice } from '../../guest/src/tpm/index.ts';

neverExit((reason) => `probe: failed ${reason}`);
mountBase();
const loaded = loadModules(JSON.parse(readFileSync('/enclaim/modules.json', 'utf8')));
const { text, policy } = readCommandLine();
const attester = await openAttester(await openTpmDevice());
if (policy !== null) {
  // The bundle's digest stands for any: it is that of the policy, spelt backwards.
  const bundle = `sha384:${parseDigest('sha384', policy).toReversed().toHex()}` as DigestText<'sha384'>;
  await attester.extend(POLICY_REGISTER, policyEvent(policy));
  await attester.extend(BUNDLE_REGISTER, bundleEvent(bundle));
}
const register = (index: number): string =>
  readFileSync(`/sys/class/tpm/tpm0/pcr-sha256/${index}`, 'latin1').trim().toLowerCase();
/** What the firmware says that it measured; empty where it says nothing. */
const LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';
const log = existsSync(LOG) ? readFileSync(LOG).toString('base64') : '';
const registers = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [index, register(index)]));
for (const part of JSON.stringify({ commandLine: text, loaded, registers, log }).match(/.{1,120}/g) ?? []) {
  console.log(`probe:${part}`);
}
console.log('probe:end');
powerOff();
