/** Launches of SEV and SEV-SNP guests, of fake firmware and random kernels: what their launch digests are made of. */

import { qemuCpuSignature } from '../../../attestation/src/measure/index.ts';
import { fakeFirmware } from '../../fakes/firmware.ts';
import { Dice, mutated, type Trial, testCase } from './trial.ts';

const MODELS = ['EPYC', 'EPYC-v4', 'EPYC-Rome', 'EPYC-Milan', 'EPYC-Milan-v2', 'EPYC-Genoa'];

/** `count` launches, and a mutant of every second one: of firmware whose tables may then be broken. */
export function* launchTrials(seed: string, count: number): Generator<Trial> {
  const dice = new Dice(seed);
  for (let number = 0; number < count; number++) {
    const mode = dice.pick(['snp', 'snp', 'snp', 'seves', 'sev']);
    const direct = dice.chance(70);
    const test = testCase('launch', 0, {
      bytes: {
        firmware: fakeFirmware({ pages: 2 + dice.below(3) }),
        ...(direct && { kernel: dice.bytes(dice.below(200)) }),
        ...(direct && dice.chance(70) && { initrd: dice.bytes(dice.below(200)) }),
      },
      words: {
        mode,
        vmm: mode === 'snp' ? dice.pick(['QEMU', 'QEMU', 'ec2', 'gce']) : 'QEMU',
        vcpus: String(1 + dice.below(4)),
        signature: String(qemuCpuSignature(dice.pick(MODELS)) ?? 0),
        features: String(dice.pick([0, 1, 0x21, 0x3f])),
        ...(direct && { append: dice.pick(['', 'console=ttyS0', 'enclaim.policy=sha256:00 quiet', 'é']) }),
      },
    });
    yield { id: `launch ${number}`, test };
    if (number % 2 === 0) yield { id: `launch ${number}, mutant`, test: mutated(test, ['firmware', 'kernel'], dice) };
  }
}
