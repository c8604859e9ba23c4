/** The app of the crash runs in a VM that ships: its launches, its clients, and its state folder as the host has it. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { References } from '@enclaim/attestation';
import { toBase64, utf8 } from '@enclaim/attestation/bytes';
import { digestText, parseDigest, sha256 } from '@enclaim/attestation/digest';
import { launchCommandLine, launchEvents } from '@enclaim/attestation/measure';
import { extendPcr, zeroPcr } from '@enclaim/attestation/tpm';
import type { BuiltBundle, Image } from '@enclaim/image';
import { type MachineOptions, type RunningMachine, startMachine, type ToolOptions } from '@enclaim/image/machine';
import { parsePe, sectionBytes, sectionNamed } from '../../attestation/src/measure/pe.ts';
import type { Events } from './opened.ts';
import { Pairs } from './pairs.ts';

/** Sections that the stub measures into register 11, in its order. */
const SECTIONS = ['.linux', '.osrel', '.cmdline', '.initrd', '.ucode', '.splash', '.uname', '.sbat', '.pcrpkey'];

/** What boots: an app, at an address that the command line may name. */
export interface VmLaunch {
  readonly bundle: BuiltBundle;
  readonly app: string;
  readonly words?: string;
}

/** One machine: an image and a folder of state. */
export class VmMachine {
  readonly image: Image;
  readonly folder: string;
  /** Everything that consoles have shown. */
  console = '';

  constructor(image: Image, folder: string) {
    this.image = image;
    this.folder = folder;
  }

  get stateFolder(): string {
    return join(this.folder, 'state');
  }

  get disk(): string {
    return join(this.stateFolder, 'state.img');
  }

  /** The command line with the words of a launch, without the policy. */
  commandLineOf({ words = '' }: VmLaunch): string {
    return `${this.image.manifest.references.tpm.commandLine}${words}`;
  }

  async boot(launch: VmLaunch, tools: ToolOptions = {}): Promise<RunningMachine> {
    const options: MachineOptions = {
      app: launch.app,
      boot: { kind: 'uki', uki: join(this.folder, 'image', this.image.manifest.artefacts.uki.file) },
      commandLine: this.commandLineOf(launch),
      isSealed: true,
      stateFolder: this.stateFolder,
      tools,
    };
    return startMachine(options);
  }

  /** Cuts a machine's power, by ending its QEMU, if that was not done, and waits until nothing is left of it. */
  async kill(machine: RunningMachine): Promise<void> {
    try {
      process.kill(machine.processes[0] ?? assert.fail('no QEMU'), 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    await machine.ended;
    this.console += (await Array.fromAsync(machine.console)).join('\n');
  }

  /** @throws VerdictError unless the machine is this launch */
  async connect(machine: RunningMachine, launch: VmLaunch): Promise<Pairs> {
    return Pairs.connect(`127.0.0.1:${machine.port}`, await this.referencesOf(machine, launch));
  }

  async referencesOf(machine: RunningMachine, launch: VmLaunch): Promise<References> {
    const { root, issuer } = machine.tpmAuthority ?? assert.fail('no TPM');
    const certificates = (await Promise.all([root, issuer].map((file) => readFile(file)))).map(
      (pem) => new X509Certificate(pem).raw,
    );
    const { bundle } = launch;
    return {
      enclaim: 'references/1',
      images: [{ ...this.image.manifest.references.tpm, commandLine: this.commandLineOf(launch) }],
      policy: bundle.policy,
      bundles: [bundle.digest],
      owner: 'any',
      anchors: {
        attestationKeys: [],
        endorsementRoots: [],
        unsafeSwtpmRoots: [digestText('sha256', sha256(certificates[0] ?? assert.fail()))],
        certificates: certificates.map(toBase64),
      },
    };
  }

  /** What the registers are shown by a launch, so that its state can be opened without a VM. */
  eventsOf(launch: VmLaunch): Events {
    const { policy, digest } = launch.bundle;
    const reference = this.image.manifest.references.tpm;
    const commandLine = launchCommandLine({ commandLine: this.commandLineOf(launch) }, policy);
    const pe = parsePe(this.image.uki);
    const sections = SECTIONS.flatMap((name) => {
      const section = sectionNamed(pe, name);
      if (section === undefined || section.virtualSize === 0) return [];
      return [sha256(utf8(`${name}\0`)), sha256(sectionBytes(pe, section))];
    });
    const register = sections.reduce<Uint8Array>(
      (value, event) => extendPcr('sha256', value, event),
      zeroPcr('sha256'),
    );
    assert.deepEqual(register, parseDigest('sha256', reference.sections), 'the stub measures other sections');
    return new Map([
      ...launchEvents(reference, { boot: 'kernel', commandLine, policy, bundle: digest }),
      [11, sections],
    ]);
  }
}
