/**
 * The events that TDVF, boot managers and Linux extend into RTMR0, 1 and 2, and the registers that
 * they lead to.
 */

import { concat, fromHex, utf8 } from '../bytes.ts';
import { type Sha384, sha384 } from '../digest.ts';
import { parseGuid } from '../guid.ts';

/** An event of a register: its digest is extended, its name is for people. */
export interface RtmrEvent {
  readonly name: string;
  readonly digest: Uint8Array;
}

const GLOBAL_VARIABLE = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const IMAGE_SECURITY_DATABASE = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';

type SecureBootVariable = 'SecureBoot' | 'PK' | 'KEK' | 'db' | 'dbx';

/**
 * The variables of Secure Boot, in the order in which firmware measures them, with their vendor
 * GUIDs.
 */
const SECURE_BOOT: Readonly<Record<SecureBootVariable, string>> = {
  SecureBoot: GLOBAL_VARIABLE,
  PK: GLOBAL_VARIABLE,
  KEK: GLOBAL_VARIABLE,
  db: IMAGE_SECURITY_DATABASE,
  dbx: IMAGE_SECURITY_DATABASE,
};

/** Contents of the Secure Boot variables; absent ones are measured as empty. */
export type SecureBootVariables = Readonly<Record<SecureBootVariable, Uint8Array>>;

/** EV_SEPARATOR's four zero bytes. */
const SEPARATOR: RtmrEvent = { name: 'separator', digest: sha384(new Uint8Array(4)) };

/** The machine and its firmware's configuration, as RTMR0 measures them. Digests are SHA-384. */
export interface TdxPlatform {
  readonly tdHob: Uint8Array;
  readonly cfv: Uint8Array;
  /**
   * Values of `fw_cfg` that the firmware measures as it reads them; builds up to edk2 202502
   * measure none.
   */
  readonly fwCfg?: readonly RtmrEvent[];
  /** Contents of the variables, or the events that they become. */
  readonly secureBoot: SecureBootVariables | readonly RtmrEvent[];
  readonly acpi: { readonly loader: Uint8Array; readonly rsdp: Uint8Array; readonly tables: Uint8Array };
  /** Digest of the SMBIOS tables; builds up to edk2 202502 do not measure them. */
  readonly smbios?: Uint8Array;
  /** Boot options by number, in boot order. */
  readonly bootOptions: readonly { readonly number: number; readonly digest: Uint8Array }[];
}

/**
 * The guest that boots a UKI from a GPT disk, as RTMR1 and RTMR2 measure it. Digests are SHA-384.
 */
export interface TdxImage {
  /** EV_EFI_GPT_EVENT: partition table header and entries. */
  readonly gpt: Uint8Array;
  /** Authenticode digests of the images that run, in order: the UKI, then the kernel in it. */
  readonly images: readonly RtmrEvent[];
  /** Digest of the command line (`commandLineEvent`) and of the initrd. */
  readonly commandLine: Uint8Array;
  readonly initrd: Uint8Array;
}

/**
 * The events of RTMR0, in order. The order of edk2 up to stable202502 is known from values of real
 * machines. That of later builds (2eac71a1e, cd76265f1 and 9d9e3a2ba in edk2) is known from the log
 * that OVMF 2026.08 writes for a TPM, and from reports.
 */
export function rtmr0Events(platform: TdxPlatform): RtmrEvent[] {
  const { tdHob, cfv, fwCfg = [], secureBoot, acpi, smbios, bootOptions } = platform;
  const order = concat(...bootOptions.map(({ number }) => Uint8Array.of(number & 0xff, number >> 8)));
  return [
    { name: 'TD HOB', digest: tdHob },
    { name: 'CFV', digest: cfv },
    ...fwCfg,
    ...('PK' in secureBoot ? secureBootEvents(secureBoot) : secureBoot),
    SEPARATOR,
    { name: 'ACPI loader', digest: acpi.loader },
    { name: 'ACPI RSDP', digest: acpi.rsdp },
    { name: 'ACPI tables', digest: acpi.tables },
    ...(smbios === undefined ? [] : [{ name: 'SMBIOS', digest: smbios }]),
    // Boot variables are measured by their data alone.
    { name: 'BootOrder', digest: sha384(order) },
    ...bootOptions.map(({ number, digest }) => ({ name: bootOptionName(number), digest })),
  ];
}

/** The events of the Secure Boot variables, in order. */
export function secureBootEvents(contents: SecureBootVariables): RtmrEvent[] {
  return (Object.entries(SECURE_BOOT) as [SecureBootVariable, string][]).map(([name, guid]) => ({
    name: `variable ${name}`,
    digest: sha384(variableEvent(guid, name, contents[name])),
  }));
}

/** The events of RTMR1, in order. */
export function rtmr1Events({ gpt, images }: Pick<TdxImage, 'gpt' | 'images'>): RtmrEvent[] {
  return [
    actionEvent('calling EFI app', 'Calling EFI Application from Boot Option'),
    SEPARATOR,
    { name: 'GPT', digest: gpt },
    ...images,
    actionEvent('EBS', 'Exit Boot Services Invocation'),
    actionEvent('EBS ok', 'Exit Boot Services Returned with Success'),
  ];
}

/**
 * The events of RTMR1 of a guest whose kernel QEMU hands to the firmware. The firmware loads it
 * before the boot manager announces itself.
 * @param kernel Authenticode digest, SHA-384
 */
export function directRtmr1Events(kernel: Uint8Array): RtmrEvent[] {
  const [calling, separator, , ...exits] = rtmr1Events({ gpt: new Uint8Array(), images: [] });
  return [{ name: 'kernel', digest: kernel }, calling, separator, ...exits].filter((event) => event !== undefined);
}

/** The events of RTMR2, in order, up to the start of Linux. */
export function rtmr2Events({ commandLine, initrd }: Pick<TdxImage, 'commandLine' | 'initrd'>): RtmrEvent[] {
  return [
    { name: 'cmdline', digest: commandLine },
    { name: 'initrd', digest: initrd },
  ];
}

/** The value of a register that started as zero and was extended with these events. */
export function rtmrOf(events: readonly RtmrEvent[]): Sha384 {
  return events.reduce<Uint8Array>((value, event) => sha384(concat(value, event.digest)), new Uint8Array(48)) as Sha384;
}

/** UEFI_VARIABLE_DATA, which EV_EFI_VARIABLE_DRIVER_CONFIG measures. */
export function variableEvent(guid: string, name: string, data: Uint8Array): Uint8Array {
  const lengths = new DataView(new ArrayBuffer(16));
  lengths.setBigUint64(0, BigInt(name.length), true);
  lengths.setBigUint64(8, BigInt(data.length), true);
  return concat(parseGuid(guid), new Uint8Array(lengths.buffer), utf16(name), data);
}

/** Digest of a command line as it is measured: UTF-16LE, with its NUL. */
export function commandLineEvent(text: string): Uint8Array {
  return utf16(`${text}\0`);
}

/**
 * Values of `fw_cfg` by which QEMU tells the firmware of a direct boot, as edk2 since 202505
 * measures them: no menu, and the ROM that loads the kernel.
 */
export function directFwCfgEvents(): RtmrEvent[] {
  return [
    { name: 'fw_cfg BootMenu', digest: sha384(Uint8Array.of(0, 0)) },
    { name: 'fw_cfg bootorder', digest: sha384(utf8('/rom@genroms/linuxboot_dma.bin\0')) },
  ];
}

const SETUP_APPLICATION = '462caa21-7614-4503-836e-8ab6f4662331';
const BOOT_MENU_APPLICATION = 'eec25bdc-67f2-4d95-b1d5-f81b2039d11d';
/** Attributes of a load option: active, an application; and hidden. */
const APPLICATION = 0x101;
const HIDDEN = 8;

/**
 * EFI_LOAD_OPTION of the setup application inside the firmware: Boot0000 on GCE, and on QEMU with
 * edk2 up to 202502.
 */
export function uiAppOption(): Uint8Array {
  return loadOption(APPLICATION | HIDDEN, 'UiApp', SETUP_APPLICATION);
}

/**
 * Boot0000 and Boot0001 of a direct boot with edk2 since 202505: the boot menu, and the setup
 * application.
 */
export function menuOptions(): Uint8Array[] {
  return [
    loadOption(APPLICATION | HIDDEN, 'BootManagerMenuApp', BOOT_MENU_APPLICATION),
    loadOption(APPLICATION, 'EFI Firmware Setup', SETUP_APPLICATION),
  ];
}

/** An EFI_LOAD_OPTION of an application in the firmware's own volume. */
function loadOption(attributes: number, description: string, file: string): Uint8Array {
  const path = concat(
    deviceNode(7, parseGuid('7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1')),
    deviceNode(6, parseGuid(file)),
    Uint8Array.of(0x7f, 0xff, 4, 0),
  );
  const head = Uint8Array.of(attributes & 0xff, attributes >> 8, 0, 0, path.length, 0);
  return concat(head, utf16(`${description}\0`), path);
}

/**
 * The boot options of a GCE machine with one disk, in boot order: the disk (NVMe), another that GCE
 * adds, the setup application. The second is known by its digest alone, which event logs of such
 * machines show.
 */
export function gceBootOptions(): TdxPlatform['bootOptions'] {
  const known = [
    'a25333c7aec2e0993034938c7f11893b3c2bcaf67e88c342a3d586f6f7fae2c6a1247a9ed86988080a6d4be497d4fbb6',
    '9068065754ff3ae3dd58a5897535eeaf62a19a6757d82dd91349c41bae2e3f208e268abba2a4378bc5c8d1acf2fd260f',
  ];
  const disks = known.map((hex, index) => ({ number: index + 1, digest: fromHex(hex) }));
  return [...disks, { number: 0, digest: sha384(uiAppOption()) }];
}

/**
 * The Secure Boot variables of a GCE machine whose image brings no keys of its own. Secure Boot is
 * off, and each list holds the first bytes of an RSA key without a known private half.
 */
export function gcePlaceholderVariables(): SecureBootVariables {
  const list = concat(
    parseGuid('a5c059a1-94e4-4aa7-87b5-ab155c2bf072'), // EFI_CERT_X509_GUID
    Uint8Array.of(52, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0), // sizes of list, header and signature
    parseGuid('d281fad2-8d88-47a4-9792-5baa47bb1b89'), // owner: Google
    Uint8Array.of(0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01),
  );
  return { SecureBoot: Uint8Array.of(0), PK: list, KEK: list, db: list, dbx: list };
}

/** The digest that dstack extends into RTMR3: type, name and payload with colons between them. */
export function dstackEvent(type: number, event: string, payload: Uint8Array): Sha384 {
  const typeBytes = new Uint8Array(4);
  new DataView(typeBytes.buffer).setUint32(0, type, true);
  return sha384(concat(typeBytes, utf8(`:${event}:`), payload));
}

function actionEvent(name: string, action: string): RtmrEvent {
  return { name, digest: sha384(utf8(action)) };
}

function bootOptionName(number: number): string {
  return `Boot${number.toString(16).toUpperCase().padStart(4, '0')}`;
}

/** A media device path node: type 4, with a GUID. */
function deviceNode(subtype: number, guid: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(4, subtype, 4 + guid.length, 0), guid);
}

function utf16(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i), true);
  return bytes;
}
