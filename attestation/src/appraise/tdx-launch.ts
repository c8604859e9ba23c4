/**
 * Appraisal of a launch under TDX: registers, and the events that led to them, against what the
 * references predict.
 */

import { equalBytes, toHex } from '../bytes.ts';
import { digestText, parseDigest } from '../digest.ts';
import type { HardwareOf } from '../evidence/authenticated.ts';
import { launchCommandLine, launchRtmrEvents, policyEvents, type RtmrEvent, rtmrOf } from '../measure/index.ts';
import type { Moment } from '../moment.ts';
import type { RtmrReference, TdxReference } from '../references/references.ts';
import { pinnedDemands } from '../references/tdx-pins.ts';
import { appraiseTdx, type RtmrEventRecord } from '../tdx/index.ts';
import { type Check, compared, notRun } from '../verdict/verdict.ts';
import { type Launch, MISSTATED, policyGiven, SHOWN_ELSEWHERE } from './snp-launch.ts';

/** Compares a quote with the launches that the references name. */
export function appraiseTdxLaunch(
  hardware: HardwareOf<'tdx'>,
  references: readonly TdxReference[],
  launch: Launch,
  moment: Moment,
): Check[] {
  const [first, ...others] = references.map((reference) => hold(hardware, reference, launch));
  if (first === undefined) return [compared('image', false, 'the references name no launch of platform tdx')];
  const best = others.reduce((a, b) => (equalOf(b) > equalOf(a) ? b : a), first);
  const pinned = best.reference.mrConfigId !== undefined;
  return [
    ...best.registers,
    ...best.events,
    ...appraiseTdx(hardware.tdx, pinnedDemands(hardware.tdx, best.reference, moment)).filter(
      ({ id }) => !SHOWN_ELSEWHERE.includes(id) && (id !== 'tdx.mr-config-id' || pinned),
    ),
    ...(pinned
      ? []
      : [policyGiven('tdx.mr-config-id', hardware.tdx.quote.report.mrConfigId, parseDigest('sha384', launch.policy))]),
  ];
}

/** One reference compared with a quote: the checks of its registers and of their events. */
interface Held {
  readonly reference: TdxReference;
  readonly registers: readonly Check[];
  readonly events: readonly Check[];
}

function equalOf({ registers }: Held): number {
  return registers.filter(({ outcome }) => outcome === 'passed').length;
}

function hold({ tdx, commandLine, events }: HardwareOf<'tdx'>, reference: TdxReference, launch: Launch): Held {
  const { mrTd, rtmrs } = tdx.quote.report;
  const { commandLineStart = '', commandLineEnd } = reference;
  const line = `${commandLineStart}${launchCommandLine(reference, launch.policy)}${commandLineEnd}`;
  const expected = [
    expectedOf(reference.rtmr0),
    expectedOf(reference.rtmr1),
    exactly(launchRtmrEvents(line, reference.initrd)),
    exactly(reference.rtmr3 === 'zero' ? [] : policyEvents(launch.policy, launch.statement.bundle)),
  ];
  const mrtd = parseDigest('sha384', reference.mrtd);
  const whole: Expected[] = [{ value: mrtd, events: null }, ...expected];
  const registers = whole.map((each, index) => {
    const id = index === 0 ? 'tdx.mrtd' : `tdx.rtmr${index - 1}`;
    const found = [mrTd, ...rtmrs][index] ?? new Uint8Array();
    const recorded = index === 0 ? null : (events?.[index - 1] ?? null);
    if (holds(found, each, recorded)) {
      if (id === 'tdx.rtmr2' && commandLine !== line) return compared(id, false, MISSTATED);
      return compared(id, true, `as predicted for ${reference.id}${exceptions(each)}`);
    }
    const otherLine = id === 'tdx.rtmr2' && equalBytes(rtmrOf(launchRtmrEvents(commandLine, reference.initrd)), found);
    const why = otherLine
      ? `: command line differs: expected "${line}", measured "${commandLine}"`
      : firstDifference(each, recorded);
    const wanted = each.value === null ? 'the events of the reference' : toHex(each.value);
    return compared(id, false, `${toHex(found)}, expected ${wanted}${why}`);
  });
  return {
    reference,
    registers,
    events: events === null ? [] : expected.flatMap((each, rtmr) => eventChecks(rtmr, each, events[rtmr] ?? [])),
  };
}

/** An event that is expected; null is any. */
type ExpectedEvent = { readonly name: string; readonly digest: Uint8Array | null };
/**
 * A register as expected. `value` is null if only the events decide it; `events` is null if they
 * are not known.
 */
type Expected = { readonly value: Uint8Array | null; readonly events: readonly ExpectedEvent[] | null };

function exactly(events: readonly RtmrEvent[]): Expected {
  return { value: rtmrOf(events), events };
}

function expectedOf(reference: RtmrReference): Expected {
  if (typeof reference === 'string') return { value: parseDigest('sha384', reference), events: null };
  const events = reference.map(({ name, digest }) => ({
    name,
    digest: digest === 'any' ? null : parseDigest('sha384', digest),
  }));
  const known = events.flatMap(({ name, digest }) => (digest === null ? [] : [{ name, digest }]));
  return { value: known.length === events.length ? rtmrOf(known) : null, events };
}

function holds(found: Uint8Array, { value, events }: Expected, recorded: readonly RtmrEventRecord[] | null): boolean {
  if (value !== null) return equalBytes(value, found);
  // The records led to the quoted value: the log was replayed when the evidence was verified.
  return (
    recorded !== null && recorded.length === events?.length && recorded.every((each, at) => fits(events[at], each))
  );
}

function fits(expected: ExpectedEvent | undefined, recorded: RtmrEventRecord | undefined): boolean {
  if (expected === undefined || recorded === undefined) return false;
  return expected.digest === null || equalBytes(expected.digest, recorded.digest);
}

/**
 * Text that names the events of a register which were not compared.
 *
 * It stands in the register's own check, because the check of an event can be lost and this one
 * cannot.
 */
function exceptions({ events }: Expected): string {
  const free = (events ?? []).filter(({ digest }) => digest === null).map(({ name }) => name);
  return free.length === 0 ? '' : `, any ${free.join(', ')} accepted`;
}

function firstDifference({ events }: Expected, recorded: readonly RtmrEventRecord[] | null): string {
  if (events === null) return '';
  if (recorded === null) return ': the evidence has no event log that says where they differ';
  const at = Array.from({ length: Math.max(events.length, recorded.length) }).findIndex(
    (_, index) => !fits(events[index], recorded[index]),
  );
  const [wanted, got] = [events[at], recorded[at]];
  if (wanted === undefined) return `: ${recorded.length - events.length} more events than expected`;
  return `: event ${at + 1} (${wanted.name}) ${got === undefined ? 'is missing' : 'differs'}`;
}

/** A line for each event that is expected, and one for all that are not. */
function eventChecks(rtmr: number, { events }: Expected, recorded: readonly RtmrEventRecord[]): Check[] {
  const id = (event: number | string): string => `tdx.rtmr${rtmr}.event.${event}`;
  if (events === null)
    return [notRun(id('all'), `${recorded.length} events, compared as the one value that they lead to`)];
  const checks = events.map(({ name, digest }, at) => {
    const found = recorded[at];
    if (found === undefined) return compared(id(at + 1), false, `${name}: the log has no such event`);
    const text = digestText('sha384', found.digest);
    if (digest === null) return notRun(id(at + 1), `${name}: any is accepted: ${text}`);
    const equal = equalBytes(digest, found.digest);
    return compared(id(at + 1), equal, equal ? name : `${name}: ${text}, expected ${digestText('sha384', digest)}`);
  });
  const surplus = recorded.length - events.length;
  return surplus <= 0 ? checks : [...checks, compared(id('more'), false, `${surplus} more events than expected`)];
}
