/**
 * VMSA: the initial registers of a virtual processor, as each hypervisor sets them (AMD 24593,
 * table B-4).
 */

import { PAGE } from './ovmf.ts';

/** Hypervisors that start processors each in their own way. */
export type Vmm = 'qemu' | 'ec2' | 'gce';

/** The first processor's entry point. */
const RESET_EIP = 0xffff_fff0;

/**
 * Family, model and stepping (CPUID 1 EAX) of QEMU's processor models; later versions of a model
 * keep them.
 */
const QEMU_MODELS: Readonly<Record<string, number>> = {
  EPYC: 0x800f12,
  'EPYC-IBPB': 0x800f12,
  'EPYC-Rome': 0x830f10,
  'EPYC-Milan': 0xa00f11,
  'EPYC-Genoa': 0xa10f10,
  'EPYC-Turin': 0xb00f00,
};

/**
 * CPUID signature of a QEMU processor model such as `EPYC-Milan` or `EPYC-v4`; undefined if it is
 * not known.
 */
export function qemuCpuSignature(model: string): number | undefined {
  const name = model.replace(/-v\d+$/, '');
  return Object.hasOwn(QEMU_MODELS, name) ? QEMU_MODELS[name] : undefined;
}

interface Segment {
  readonly selector: number;
  readonly attributes: number;
  readonly limit: number;
  readonly base?: number;
}

/** Offsets of the segment registers, 16 bytes each. */
const SEGMENTS = {
  es: 0x00,
  cs: 0x10,
  ss: 0x20,
  ds: 0x30,
  fs: 0x40,
  gs: 0x50,
  gdtr: 0x60,
  ldtr: 0x70,
  idtr: 0x80,
  tr: 0x90,
} as const;

/** Offsets of the other registers that do not start as zero: 8 bytes each, except as noted. */
const REGISTERS = {
  efer: 0xd0,
  cr4: 0x148,
  cr0: 0x158,
  dr7: 0x160,
  dr6: 0x168,
  rflags: 0x170,
  rip: 0x178,
  gPat: 0x268,
  rdx: 0x310,
  sevFeatures: 0x3b0,
  xcr0: 0x3e8,
} as const;
/** 4 bytes. */
const MXCSR = 0x408;
/** 2 bytes. */
const X87_FCW = 0x410;

interface SaveArea {
  readonly segments: Readonly<Record<keyof typeof SEGMENTS, Segment>>;
  readonly registers: Readonly<Record<keyof typeof REGISTERS, number | bigint>>;
  readonly mxcsr: number;
  readonly fcw: number;
}

/**
 * Registers that a processor starts with on every hypervisor: KVM's reset state, with EFER.SVME and
 * CR4.MCE on.
 */
const COMMON_REGISTERS = { efer: 0x1000, cr4: 0x40, cr0: 0x10, dr7: 0x400, dr6: 0xffff_0ff0, rflags: 2, xcr0: 1 };
const DATA: Segment = { selector: 0, attributes: 0x93, limit: 0xffff };
const TABLE: Segment = { selector: 0, attributes: 0, limit: 0xffff };
const LDTR: Segment = { selector: 0, attributes: 0x82, limit: 0xffff };
const PAT_KVM = 0x0007_0406_0007_0406n;
const PAT_GCE = 0x0007_0106n;

interface VmmState {
  readonly ss: number;
  readonly tr: number;
  /** CS attributes of the first processor, and of every other one. */
  readonly cs: readonly [first: number, others: number];
  readonly gPat: bigint;
  /** Undefined if it is the processor's CPUID signature. */
  readonly rdx: number | undefined;
  readonly mxcsr: number;
  readonly fcw: number;
}

/**
 * State in which hypervisors differ. EC2's RDX was 0 in older tools; 0x600 is what processors have
 * after reset.
 */
const VMMS: Readonly<Record<Vmm, VmmState>> = {
  qemu: { ss: 0x93, tr: 0x8b, cs: [0x9b, 0x9b], gPat: PAT_KVM, rdx: undefined, mxcsr: 0x1f80, fcw: 0x37f },
  ec2: { ss: 0x92, tr: 0x83, cs: [0x9a, 0x9b], gPat: PAT_KVM, rdx: 0x600, mxcsr: 0, fcw: 0 },
  gce: { ss: 0x93, tr: 0x8b, cs: [0x9b, 0x9b], gPat: PAT_GCE, rdx: 0x600, mxcsr: 0, fcw: 0 },
};

/** The inputs from which the registers of all processors of one guest follow. */
export interface VmsaInput {
  readonly vmm: Vmm;
  /** CPUID 1 EAX; read on QEMU alone. */
  readonly cpuSignature: number;
  /** SEV_FEATURES: 1 is SNP, 0x20 debug swap. */
  readonly features: bigint;
}

/** The save area page of the first processor (`eip` undefined) or of one that starts at `eip`. */
export function vmsaPage({ vmm, cpuSignature, features }: VmsaInput, eip?: number): Uint8Array {
  const state = VMMS[vmm];
  const entry = eip ?? RESET_EIP;
  const cs = { selector: 0xf000, attributes: state.cs[eip === undefined ? 0 : 1], limit: 0xffff };
  return encode({
    segments: {
      es: DATA,
      // EIP's upper half goes into the base, as after a reset in real mode.
      cs: { ...cs, base: (entry & 0xffff_0000) >>> 0 },
      ss: { ...DATA, attributes: state.ss },
      ds: DATA,
      fs: DATA,
      gs: DATA,
      gdtr: TABLE,
      ldtr: LDTR,
      idtr: TABLE,
      tr: { ...TABLE, attributes: state.tr },
    },
    registers: {
      ...COMMON_REGISTERS,
      rip: entry & 0xffff,
      gPat: state.gPat,
      rdx: state.rdx ?? cpuSignature,
      sevFeatures: features,
    },
    mxcsr: state.mxcsr,
    fcw: state.fcw,
  });
}

/**
 * The save area page of every processor that starts in an SVSM, in flat 32-bit protected mode
 * (coconut-svsm's QEMU).
 */
export function svsmVmsaPage(cpuSignature: number, entry: number): Uint8Array {
  const flat = { selector: 16, attributes: 0xc93, limit: 0xffff_ffff };
  const { gPat, mxcsr, tr } = VMMS.qemu;
  return encode({
    segments: {
      es: flat,
      cs: { selector: 8, attributes: 0xc9b, limit: 0xffff_ffff },
      ss: flat,
      ds: flat,
      fs: flat,
      gs: DATA,
      gdtr: TABLE,
      ldtr: LDTR,
      idtr: TABLE,
      tr: { ...TABLE, attributes: tr },
    },
    registers: { ...COMMON_REGISTERS, cr0: 0x11, rip: entry, gPat, rdx: cpuSignature, sevFeatures: 1 },
    mxcsr,
    fcw: 0,
  });
}

function encode({ segments, registers, mxcsr, fcw }: SaveArea): Uint8Array {
  const page = new Uint8Array(PAGE);
  const view = new DataView(page.buffer);
  for (const [name, offset] of Object.entries(SEGMENTS) as [keyof typeof SEGMENTS, number][]) {
    const { selector, attributes, limit, base = 0 } = segments[name];
    view.setUint16(offset, selector, true);
    view.setUint16(offset + 2, attributes, true);
    view.setUint32(offset + 4, limit, true);
    view.setBigUint64(offset + 8, BigInt(base), true);
  }
  for (const [name, offset] of Object.entries(REGISTERS) as [keyof typeof REGISTERS, number][]) {
    view.setBigUint64(offset, BigInt(registers[name]), true);
  }
  view.setUint32(MXCSR, mxcsr, true);
  view.setUint16(X87_FCW, fcw, true);
  return page;
}
