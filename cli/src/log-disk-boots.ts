/** Boots of a log's disk, as `enclaim log disk` tells of them. */

import type { Verdict } from '@enclaim/attestation';
import type { DiskBoot, DiskBoots, LogAudit } from '@enclaim/attestation/log-disk';

/** Records of a log, named by the indexes of the first and the last. */
interface Records {
  readonly first: number;
  readonly last: number;
  readonly count: number;
}

/** Whether something in the quotes of a disk is not as it must be. */
export function isRefused({ boots, idle }: DiskBoots<Verdict>): boolean {
  return idle.some(({ kind }) => kind === 'refused') || boots.some(({ judged }) => judged?.ok === false);
}

/** For people, one a line. */
export function bootsLines(found: DiskBoots<Verdict>, audit: LogAudit, appraised: boolean): string[] {
  const bootless = bootlessOf(found, audit);
  return [
    ...(bootless === null ? [] : [`${rangeOf(bootless)} of no boot that is on the disk`]),
    ...found.boots.flatMap((boot) => linesOf(boot, appraised)),
    ...found.idle.map(({ at, kind, message }) => `quote in ${at}: ${LABELS[kind]}: ${message}`),
    ...(found.omitted === 0 ? [] : [`${found.omitted} older boots and quotes are not listed`]),
  ];
}

const LABELS = { damaged: 'damaged', uncompared: 'NOT COMPARED', refused: 'REFUSED' } as const;

function linesOf(boot: DiskBoot<Verdict>, appraised: boolean): string[] {
  const { quoted, unquoted } = partsOf(boot);
  return [
    `boot ${boot.id} began at ${boot.began}`,
    ...(quoted === null ? [] : [`  ${rangeOf(quoted)} under a kept quote: ${saidOf(boot, appraised)}`]),
    ...(unquoted === null ? [] : [`  ${rangeOf(unquoted)} under no kept quote of this boot`]),
  ];
}

function saidOf({ judged }: DiskBoot<Verdict>, appraised: boolean): string {
  if (!appraised || judged === undefined) return 'NOT APPRAISED without --references';
  const { platform, policy, ok } = judged;
  return `${platform}, policy ${policy}: ${ok ? 'as expected' : 'REFUSED by the references'}`;
}

/** The same as JSON. */
export function bootsDocument(found: DiskBoots<Verdict>, audit: LogAudit): object {
  const boots = found.boots.map((boot) => {
    const { id, began, judged } = boot;
    const verdict = judged === undefined ? null : { platform: judged.platform, policy: judged.policy, ok: judged.ok };
    return { boot: id, began, ...partsOf(boot), verdict };
  });
  return { bootless: bootlessOf(found, audit), boots, quotes: found.idle, omitted: found.omitted };
}

function partsOf({ began, quoted, end }: DiskBoot<Verdict>): Record<'quoted' | 'unquoted', Records | null> {
  return { quoted: recordsFrom(began, quoted), unquoted: recordsFrom(quoted, end) };
}

/** Records that are held from before the first boot that is known. */
function bootlessOf({ boots: [oldest] }: DiskBoots<Verdict>, { first, head }: LogAudit): Records | null {
  return recordsFrom(first, oldest?.began ?? head.size);
}

function recordsFrom(first: number, end: number): Records | null {
  return end > first ? { first, last: end - 1, count: end - first } : null;
}

function rangeOf({ first, last, count }: Records): string {
  return `records ${first} to ${last} (${count}) are`;
}
