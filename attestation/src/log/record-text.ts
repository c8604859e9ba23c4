/**
 * The text of a record, put together field by field.
 *
 * **Cost**: the runtime writes a record for every call. This takes a fifth of the time of
 * `JSON.stringify`, because records name the same systems, methods and categories again and again.
 */

import { fromUtf8 } from '../bytes.ts';
import { checkUnicode, encodeCanonical } from '../canonical.ts';
import type { AnyRecord } from './record-fields.ts';

/** Texts that are remembered with their JSON. */
const MAX_KNOWN = 512;
/** Characters of a text that is remembered. */
const MAX_KNOWN_CHARS = 128;
const known = new Map<string, string>();

/**
 * The canonical form (RFC 8785) of a record whose fields its schema takes: names ascend, and a text
 * whose kind has no character that JSON escapes stands as it is.
 *
 * @throws TypeError for a text that is not Unicode
 */
export function canonicalRecord(record: AnyRecord): string {
  const { basis, decision, figures, id, label, layer, policyDigest, time, timeStrength } = record;
  const isFirst = record.v === 1;
  const claims = isFirst
    ? `"claim":${nullable(record.claim)},"controls":${list(record.controls)}`
    : `"claims":${list(record.claims)}`;
  const prev = isFirst ? `"prev":"${record.prev}",` : '';
  const segment =
    isFirst || record.segment === undefined ? '' : `"segment":${fromUtf8(encodeCanonical(record.segment))},`;
  return (
    `{"basis":"${basis}",${claims},"decision":"${decision}","figures":${counts(figures)},"id":"${id}",` +
    `"label":${list(label)},"layer":"${layer}","method":${nullable(record.method)},` +
    `"policyDigest":"${policyDigest}",${prev}"reason":${quoted(record.reason)},${segment}` +
    `"sink":${nullable(record.sink)},"system":${quoted(record.system)},"time":"${time}",` +
    `"timeStrength":"${timeStrength}","v":${record.v}}`
  );
}

/** A text as JSON. @throws TypeError if it is not Unicode */
function quoted(text: string): string {
  const before = known.get(text);
  if (before !== undefined) return before;
  checkUnicode([text]);
  const json = JSON.stringify(text);
  if (text.length > MAX_KNOWN_CHARS) return json;
  // Without this, texts that never come again would fill the memory.
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(text, json);
  return json;
}

function nullable(text: string | null): string {
  return text === null ? 'null' : quoted(text);
}

function list(texts: readonly string[]): string {
  let json = '';
  for (const text of texts) json += json === '' ? quoted(text) : `,${quoted(text)}`;
  return `[${json}]`;
}

/** Whole numbers by their names, in the order of UTF-16 code units. */
function counts(figures: Readonly<Record<string, number>>): string {
  let json = '';
  for (const name of Object.keys(figures).sort())
    json += `${json === '' ? '' : ','}${quoted(name)}:${figures[name] ?? 0}`;
  return `{${json}}`;
}
