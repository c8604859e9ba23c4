/** Packages that handlers may want, with a use of each: what comes of it in a worker (docs/security/confinement.md, "Packages in handlers"). */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';
import { compileHandlers } from '../../image/src/programs/compile.ts';

/** `works`: as it does in Node. `throws`: bundles, and does not run. `refused`: is not bundled. */
export type PackageOutcome = 'works' | 'throws' | 'refused';

/** A use of a package. */
export interface PackageUse {
  readonly name: string;
  readonly version: string;
  readonly outcome: PackageOutcome;
  /** Import, and an expression that says something of the package's work; the same in every run. */
  readonly imports: string;
  readonly says: string;
}

const uses = (
  outcome: PackageOutcome,
  rows: readonly (readonly [name: string, version: string, imports: string, says: string])[],
) => rows.map(([name, version, imports, says]): PackageUse => ({ name, version, outcome, imports, says }));

const NOW = 'new Date(Date.UTC(2026, 10, 20, 8, 30))';

/** Every package that was tried. */
export const PACKAGE_USES: readonly PackageUse[] = [
  ...uses('works', [
    ['@noble/hashes', '2.4.0', "import { sha256 } from '@noble/hashes/sha2.js'", 'sha256(new Uint8Array(3)).join()'],
    ['@types/fhir', '3.0.2', '', "JSON.stringify({ resourceType: 'Patient' })"],
    ['async', '3.2.6', "import { mapSeries } from 'async'", '(await mapSeries([1, 2, 3], async (n) => n * 2)).join()'],
    ['big.js', '7.0.1', "import Big from 'big.js'", "Big('0.1').plus('0.2').toString()"],
    [
      'bignumber.js',
      '11.1.5',
      "import { BigNumber } from 'bignumber.js'",
      "new BigNumber('1e30').dividedBy(7).toFixed(20)",
    ],
    [
      'csv-parse',
      '7.0.3',
      "import { parse } from 'csv-parse/browser/esm/sync'",
      'JSON.stringify(parse(\'a,b\\n"1,2",3\', { columns: true }))',
    ],
    ['date-fns', '4.4.0', "import { addMonths, formatISO } from 'date-fns'", `formatISO(addMonths(${NOW}, 3))`],
    ['dayjs', '1.11.23', "import dayjs from 'dayjs'", `dayjs(${NOW}).add(1, 'week').toISOString()`],
    ['decimal.js', '10.6.0', "import { Decimal } from 'decimal.js'", 'new Decimal(2).sqrt().toString()'],
    [
      'eventemitter3',
      '5.0.4',
      "import { EventEmitter } from 'eventemitter3'",
      "(() => { const e = new EventEmitter(); let s = ''; e.on('x', (v) => { s += v; }); e.emit('x', 'y'); return s; })()",
    ],
    [
      'fast-json-patch',
      '3.1.1',
      "import { compare } from 'fast-json-patch'",
      'JSON.stringify(compare({ a: 1 }, { a: 2, b: [3] }))',
    ],
    [
      'fp-ts',
      '2.16.11',
      "import { pipe } from 'fp-ts/lib/function.js'; import * as O from 'fp-ts/lib/Option.js'",
      'JSON.stringify(pipe(O.some(2), O.map((n) => n + 1)))',
    ],
    [
      'immer',
      '11.2.10',
      "import { produce } from 'immer'",
      'JSON.stringify(produce({ a: [1] }, (d) => { d.a.push(2); }))',
    ],
    [
      'libphonenumber-js',
      '1.13.16',
      "import { parsePhoneNumberFromString as parse } from 'libphonenumber-js'",
      "parse('030 1234567', 'DE').formatInternational()",
    ],
    [
      'lodash',
      '4.18.1',
      "import _ from 'lodash'",
      "JSON.stringify(_.groupBy(['one', 'two', 'three'], 'length')) + _.template.length",
    ],
    [
      'lodash-es',
      '4.18.1',
      "import { chunk, camelCase } from 'lodash-es'",
      "JSON.stringify(chunk([1, 2, 3], 2)) + camelCase('a-b c')",
    ],
    [
      'luxon',
      '3.7.2',
      "import { DateTime } from 'luxon'",
      "DateTime.fromISO('2026-11-20T08:30:00Z', { zone: 'utc' }).plus({ days: 40 }).toISO()",
    ],
    ['marked', '18.2.1', "import { marked } from 'marked'", "marked.parse('# a *b*')"],
    ['ms', '2.1.3', "import ms from 'ms'", "ms('2 days') + ms(60000)"],
    [
      'mustache',
      '4.2.0',
      "import Mustache from 'mustache'",
      "Mustache.render('{{#a}}{{b}}{{/a}}', { a: [{ b: '<' }] })",
    ],
    [
      'nanoid',
      '6.0.2',
      "import { customRandom } from '../node_modules/nanoid/index.browser.js'",
      "customRandom('ab', 5, (n) => new Uint8Array(n))()",
    ],
    [
      'p-limit',
      '7.3.3',
      "import pLimit from 'p-limit'",
      '(await Promise.all([1, 2].map((n) => pLimit(1)(async () => n)))).join()',
    ],
    ['ramda', '0.32.0', "import * as R from 'ramda'", 'JSON.stringify(R.sortBy(R.prop("a"), [{ a: 2 }, { a: 1 }]))'],
    [
      'rxjs',
      '7.8.2',
      "import { from, map, toArray, lastValueFrom } from 'rxjs'",
      '(await lastValueFrom(from([1, 2]).pipe(map((n) => n + 1), toArray()))).join()',
    ],
    [
      'semver',
      '7.8.6',
      "import semver from 'semver'",
      "semver.satisfies('1.2.3', '^1.2') + semver.inc('1.2.3', 'minor')",
    ],
    [
      'superstruct',
      '2.0.2',
      "import { object, string, is } from 'superstruct'",
      "is({ a: 'b' }, object({ a: string() })) + ''",
    ],
    ['underscore', '1.13.8', "import _ from 'underscore'", 'JSON.stringify(_.countBy([1, 2, 3], (n) => n % 2))'],
    ['uuid', '14.0.3', "import { v4, v5, validate } from 'uuid'", "v5('a', v5.URL) + validate(v4())"],
    [
      'valibot',
      '1.5.0',
      "import * as v from 'valibot'",
      'JSON.stringify(v.safeParse(v.object({ a: v.string() }), { a: 1 }).success)',
    ],
    [
      'validator',
      '13.15.35',
      "import validator from 'validator'",
      "validator.isEmail('a@b.example') + validator.escape('<')",
    ],
    ['yaml', '2.9.1', "import { parse, stringify } from 'yaml'", "stringify(parse('a: [1, 2]'))"],
    [
      'yup',
      '1.7.1',
      "import * as yup from 'yup'",
      "JSON.stringify(await yup.object({ a: yup.number() }).validate({ a: '1' }))",
    ],
    [
      'zod',
      '4.6.7',
      "import * as z from 'zod'",
      'JSON.stringify(z.object({ a: z.string() }).safeParse({ a: 1 }).error.issues)',
    ],
  ]),
  ...uses('throws', [
    ['ajv', '8.20.0', "import Ajv from 'ajv'", "new Ajv().compile({ type: 'string' })('a') + ''"],
    [
      'handlebars',
      '4.7.10',
      "import Handlebars from 'handlebars/dist/handlebars.js'",
      "Handlebars.compile('{{a}}')({ a: 1 })",
    ],
  ]),
  ...uses('refused', [
    ['joi', '18.3.2', "import Joi from 'joi'", "Joi.string().validate('a').value"],
    ['mathjs', '15.2.0', "import { evaluate } from 'mathjs'", "evaluate('1 + 2') + ''"],
    ['papaparse', '5.7.1', "import Papa from 'papaparse'", "JSON.stringify(Papa.parse('a,b').data)"],
    ['qs', '6.17.1', "import qs from 'qs'", 'qs.stringify({ a: [1] })'],
  ]),
];

/** The bundle of handlers that answer a laboratory's `Sum` with what a package says; `folder` has it in its node_modules. */
export async function bundleUse(folder: string, { name, imports, says }: PackageUse): Promise<string> {
  const file = `${name.replace(/\W/g, '-')}.js`;
  const source = `${imports};
    const others = Object.fromEntries(['Put', 'Read', 'Collect', 'Watch', 'Chat'].map((it) => ['lab.v1.Lab/' + it, async () => ({})]));
    export const handlers = { ...others, 'lab.v1.Lab/Sum': async () => ({ word: String(${says}) }) };`;
  await mkdir(join(folder, 'handlers'), { recursive: true });
  await writeFile(join(folder, 'handlers', file), source);
  return Buffer.from(await compileHandlers(folder, join('handlers', file))).toString();
}

/** What the same bundle says in Node itself. */
export async function saysInNode(bundle: string): Promise<string> {
  const module = { exports: {} as { handlers?: Record<string, () => Promise<{ word: string }>> } };
  runInThisContext(`(function (module, exports) {${bundle}\n})`)(module, module.exports);
  return (await module.exports.handlers?.['lab.v1.Lab/Sum']?.())?.word ?? '';
}
