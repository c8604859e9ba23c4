/** Durations, dates, sizes and times as policies write them. */

/**
 * ISO 8601 duration without fractions: `P30D`, `P7Y`, `PT12H`. Each part at most once and never
 * zero.
 */
export type Duration = string;

/** A day in the Gregorian calendar, `2027-03-31`, in UTC and inclusive. */
export type Day = string;

/** A size in binary units: `256MiB`. */
export type Size = string;

/** A time in plain units: `500ms`, `5s`, `2min`. */
export type Time = string;

const COUNT = '([1-9][0-9]{0,5})';

/** The shape of a {@link Duration}. */
export const DURATION: RegExp = new RegExp(
  `^P(?=.)(?:${COUNT}Y)?(?:${COUNT}M)?(?:${COUNT}W)?(?:${COUNT}D)?(?:T(?=.)(?:${COUNT}H)?(?:${COUNT}M)?(?:${COUNT}S)?)?$`,
);

/** The shape of a {@link Day}; whether the day exists is asked of {@link isDay}. */
export const DAY: RegExp = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/;

/** The shape of a {@link Size}. */
export const SIZE: RegExp = /^([1-9][0-9]{0,6})(KiB|MiB|GiB)$/;

/** The shape of a {@link Time}. */
export const TIME: RegExp = /^([1-9][0-9]{0,6})(ms|s|min)$/;

const DAY_SECONDS = 86_400;
// A limit must have one length, whenever it starts. So years and months are not the calendar's.
const DURATION_SECONDS = [365 * DAY_SECONDS, 30 * DAY_SECONDS, 7 * DAY_SECONDS, DAY_SECONDS, 3600, 60, 1];
const SIZE_BYTES: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
const TIME_MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000 };

/**
 * Seconds in a duration; a year is 365 days, a month 30. @throws RangeError if it is not a duration
 *
 * @example
 * ```ts
 * import { secondsOf } from '@enclaim/policy-schema/admission';
 *
 * secondsOf('P30D'); // 2592000
 * ```
 */
export function secondsOf(duration: Duration): number {
  const parts = DURATION.exec(duration)?.slice(1);
  if (!parts) throw new RangeError(`not a duration: ${duration}`);
  return parts.reduce((sum, part, i) => sum + Number(part ?? 0) * (DURATION_SECONDS[i] ?? 0), 0);
}

/**
 * Bytes in a size. @throws RangeError if it is not a size
 *
 * @example
 * ```ts
 * import { bytesOf } from '@enclaim/policy-schema/admission';
 *
 * bytesOf('256MiB'); // 268435456
 * ```
 */
export function bytesOf(size: Size): number {
  return scaled(size, SIZE, SIZE_BYTES);
}

/**
 * Milliseconds in a time. @throws RangeError if it is not a time
 *
 * @example
 * ```ts
 * import { millisecondsOf } from '@enclaim/policy-schema/admission';
 *
 * millisecondsOf('5s'); // 5000
 * ```
 */
export function millisecondsOf(time: Time): number {
  return scaled(time, TIME, TIME_MILLISECONDS);
}

/** `evidence.quoted` of a policy without it. It is never part of the canonical form. */
export const QUOTED_BY_DEFAULT: Time = '1s';

/**
 * Milliseconds within which a policy has records under a quote of the hardware; 0: once a proof is
 * asked for.
 *
 * @example
 * ```ts
 * import { quotedWithin } from '@enclaim/policy-schema/admission';
 *
 * quotedWithin({ quoted: '250ms' }); // 250
 * quotedWithin({}); // 1000
 * ```
 */
export function quotedWithin({ quoted = QUOTED_BY_DEFAULT }: { readonly quoted?: Time }): number {
  return quoted === '0s' ? 0 : millisecondsOf(quoted);
}

/**
 * Whether the text names a day that exists.
 *
 * @example
 * ```ts
 * import { isDay } from '@enclaim/policy-schema/admission';
 *
 * isDay('2027-02-29'); // false: 2027 is no leap year
 * ```
 */
export function isDay(text: string): boolean {
  const at = DAY.test(text) ? new Date(`${text}T00:00:00Z`) : undefined;
  return at !== undefined && !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text);
}

/**
 * The first instant after a day, in milliseconds since 1970 UTC: what is valid until that day has
 * ended here.
 *
 * @example
 * ```ts
 * import { endOf } from '@enclaim/policy-schema/admission';
 *
 * new Date(endOf('2027-03-31')); // 2027-04-01T00:00:00.000Z
 * ```
 */
export function endOf(day: Day): number {
  if (!isDay(day)) throw new RangeError(`not a day: ${day}`);
  return Date.parse(`${day}T00:00:00Z`) + DAY_SECONDS * 1000;
}

function scaled(text: string, shape: RegExp, units: Readonly<Record<string, number>>): number {
  const [, count, unit = ''] = shape.exec(text) ?? [];
  const scale = units[unit];
  if (scale === undefined) throw new RangeError(`not of the form ${shape.source}: ${text}`);
  return Number(count) * scale;
}
