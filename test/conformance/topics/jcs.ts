/** RFC 8785: canonical JSON, and documents that have none. */

import { createHash } from 'node:crypto';
import { PolicyError } from '@enclaim/policy-schema';
import { canonicalJson, parseJson } from '@enclaim/policy-schema/admission';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'jcs';

const DEPTH = 1000;

export async function run(test: Case, dir: string): Promise<Outcome> {
  if ('numbers' in test.files) return numbers(test, dir);
  if ('vectors' in test.files) return edges(test, dir);
  const canonical = canonicalJson(parseJson(await fileOf(test, 'input', dir), DEPTH));
  const hex = new TextDecoder().decode(await fileOf(test, 'outhex', dir)).replaceAll(/\s/g, '');
  const output = await fileOf(test, 'output', dir);
  return compare(
    { ...Object(test.expected), hex, output: Buffer.from(output).toString('hex') },
    {
      sha256_of_output: sha256(canonical),
      hex: Buffer.from(canonical).toString('hex'),
      output: Buffer.from(canonical).toString('hex'),
    },
  );
}

/** Lines of "IEEE 754 bits as hex, text as ECMAScript writes it". */
async function numbers(test: Case, dir: string): Promise<Outcome> {
  const bytes = await fileOf(test, 'numbers', dir);
  const lines = new TextDecoder().decode(bytes).trimEnd().split('\n');
  const wrong = lines.filter((line) => {
    const [bits = '', text] = line.split(',');
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(`0x${bits}`));
    return new TextDecoder().decode(canonicalJson(view.getFloat64(0))) !== text;
  });
  const got = { lines: lines.length, sha256: sha256(bytes), wrong };
  return compare({ ...Object(test.expected), wrong: [] }, got);
}

interface Edge {
  readonly input_hex: string;
  readonly result: 'accept' | 'reject';
  readonly output_hex?: string;
}

async function edges(test: Case, dir: string): Promise<Outcome> {
  const cases = JSON.parse(new TextDecoder().decode(await fileOf(test, 'vectors', dir))) as Edge[];
  const wrong = cases.filter(({ input_hex, result, output_hex }) => {
    const got = canonicalHex(Buffer.from(input_hex, 'hex'));
    return result === 'accept' ? got !== output_hex : got !== undefined;
  });
  const reject = cases.filter(({ result }) => result === 'reject').length;
  return compare(
    { ...Object(test.expected), wrong: [] },
    { count: cases.length, reject, wrong: wrong.map(({ input_hex }) => input_hex) },
  );
}

/** Hex of the canonical form; absent where the document is refused. */
function canonicalHex(document: Uint8Array): string | undefined {
  try {
    return Buffer.from(canonicalJson(parseJson(document, DEPTH))).toString('hex');
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
