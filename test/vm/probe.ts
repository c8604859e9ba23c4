/** Boots an image whose guest is probe-guest.ts under QEMU and OVMF with a software TPM, and reads its report. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { EMULATED } from '../../image/src/machine/arguments.ts';
import { findTools } from '../../image/src/machine/index.ts';
import { prepareTpm, startTpm } from '../../image/src/machine/tpm.ts';
import type { Entry } from '../../image/src/programs/entries.ts';
import { HANGS_MS } from '../support/eventually.ts';

/** The probe in place of our own programs. */
export const PROBE_ENTRIES: readonly Entry[] = [
  { source: 'test/vm/probe-guest.ts', path: 'enclaim/guest.mjs', reason: 'prints registers', executable: true },
];

export interface ProbeReport {
  readonly commandLine: string;
  readonly loaded: readonly string[];
  /** SHA-256 bank, hex, by index. */
  readonly registers: Readonly<Record<string, string>>;
  /** The firmware's event log, base64; empty where it keeps none. */
  readonly log: string;
}

export interface ProbeLaunch {
  /** Path of the UKI, loaded by -kernel; or of a raw disk that the firmware boots. */
  readonly uki?: string;
  readonly disk?: string;
  /** Kernel and initrd that a build of OVMF for confidential VMs is handed. */
  readonly direct?: { readonly firmware: string; readonly kernel: string; readonly initrd: string };
  readonly commandLine?: string;
  /** SMBIOS type 11 strings, by which a host tries to inject. */
  readonly oemStrings?: readonly string[];
}

/** One TPM for all boots of a test file, which ask for none of its own: its registers begin anew at each. */
let state: string | undefined;

async function stateFolder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'enclaim-probe-tpm-'));
  process.once('exit', () => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** @throws Error with the console where the probe does not report */
export async function probe(launch: ProbeLaunch): Promise<ProbeReport> {
  const tools = await findTools();
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-probe-'));
  const signal = new AbortController().signal;
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  state ??= await stateFolder();
  const { folder: tpmState } = await prepareTpm(state, tools, signal);
  const socket = join(folder, 'tpm.sock');
  const ctrl = ['--ctrl', `type=unixio,path=${socket},mode=0600`];
  const tpm = await startTpm(
    [tools.swtpm, 'socket', '--tpm2', '--terminate', '--tpmstate', `dir=${tpmState}`, ...ctrl],
    folder,
    tools,
    signal,
  );
  cleanup.defer(() => tpm.stop());
  const variables = join(folder, 'variables.fd');
  await copyFile(tools.firmware.variables, variables);
  const qemu = spawn(
    tools.qemu,
    [
      ...tools.qemuData.flatMap((data) => ['-L', data]),
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'],
      ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', EMULATED, '-smp', '2', '-m', '1024'],
      ...(launch.direct === undefined
        ? [
            ...['-drive', `if=pflash,format=raw,readonly=on,file=${tools.firmware.code}`],
            ...['-drive', `if=pflash,format=raw,file=${variables}`],
          ]
        : ['-bios', launch.direct.firmware, '-kernel', launch.direct.kernel, '-initrd', launch.direct.initrd]),
      ...['-chardev', `socket,id=tpm0,path=${socket}`, '-tpmdev', 'emulator,id=tpm0,chardev=tpm0'],
      ...['-device', 'tpm-crb,tpmdev=tpm0'],
      ...(launch.uki === undefined ? [] : ['-kernel', launch.uki]),
      ...(launch.disk === undefined
        ? []
        : [
            '-drive',
            `if=none,id=boot,format=raw,snapshot=on,file=${launch.disk}`,
            '-device',
            'virtio-blk-pci,drive=boot',
          ]),
      ...(launch.commandLine === undefined ? [] : ['-append', launch.commandLine]),
      ...(launch.oemStrings ?? []).flatMap((text) => ['-smbios', `type=11,value=${text}`]),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  cleanup.defer(() => void qemu.kill('SIGKILL'));
  const timer = setTimeout(() => qemu.kill('SIGKILL'), 3 * HANGS_MS);
  cleanup.defer(() => clearTimeout(timer));
  const lines: string[] = [];
  let json = '';
  for await (const line of createInterface(qemu.stdout)) {
    lines.push(line);
    const part = /probe:(.*)$/.exec(line)?.[1];
    if (part === 'end') return JSON.parse(json);
    json += part ?? '';
  }
  throw new Error(`the probe did not report:\n${lines.slice(-40).join('\n')}`);
}
