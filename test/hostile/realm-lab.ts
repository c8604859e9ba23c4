/** The realm of a worker in this process, whole or with one thing taken out of it. */

import { compileFunction, constants, createContext, runInContext } from 'node:vm';
import { openRealm, type Realm } from '../../runtime/src/worker/process/realm.ts';
import type { Inside } from '../../runtime/src/worker/realm/bridge.ts';
import { GLOBALS, realmText } from '../../runtime/src/worker/realm/inside.ts';
import { readText, written } from '../support/worker-text.ts';

const METHOD = 'a.B/C';
const source = realmText();

/** The realm's source with edits. Each must change it: a control that takes nothing away would prove nothing. */
function edited(...edits: readonly (readonly [what: RegExp | string, instead: string])[]): string {
  return edits.reduce((text, [what, instead]) => {
    const changed = text.replace(what, instead);
    if (changed === text) throw new Error(`the realm has no ${what}`);
    return changed;
  }, source);
}

/** A realm made as `openRealm` makes it, from another source. */
function realmFrom(text: string, code: string, { strings = false, body = true, strict = true } = {}): Realm {
  const context = createContext(constants.DONT_CONTEXTIFY, { codeGeneration: { strings, wasm: false } });
  const made = runInContext(`${strict ? "'use strict'; " : ''}${text}`, context) as Inside;
  const names = ['module', 'exports', ...GLOBALS];
  const bundle = body
    ? compileFunction(code, names, { parsingContext: context })
    : runInContext(`(function (${names.join()}) {${code}\n})`, context);
  const missing = made.load(bundle as never, JSON.stringify(GLOBALS), JSON.stringify([METHOD]));
  if (missing !== '') throw new Error(`no handler for ${missing}`);
  return made;
}

/** Handlers in this process's own realm: no realm at all. */
function noRealm(code: string): Realm {
  const module = { exports: {} as { handlers?: Record<string, (request: unknown, ctx: unknown) => unknown> } };
  new Function('module', 'exports', code)(module, module.exports);
  let said = '';
  return {
    prepare: () => false,
    take: () => {
      const text = said;
      said = '';
      return text;
    },
    receive: (text) => {
      const { kind, json: request } = readText(text);
      if (kind !== 'call') return -1;
      const never = (): Promise<never> => Promise.reject(new Error('refused'));
      const ctx = {
        now: () => '',
        store: { cases: { get: never, put: never } },
        log: never,
        signal: { addEventListener: () => {} },
      };
      Promise.resolve()
        .then(() => module.exports.handlers?.[METHOD]?.(request, ctx))
        .then((response) => {
          said += `${written({ kind: 'done', json: response })}\n`;
        })
        .catch(() => {});
      return 0;
    },
  };
}

/** A layer within the language. */
export type RealmLayer =
  | 'realm of its own'
  | 'no import expressions'
  | 'no code from strings'
  | 'bundle as a function body'
  | 'strict frames'
  | 'frozen intrinsics'
  | 'frozen bundle'
  | 'instance per call'
  | 'no stacks'
  | 'no legacy matches'
  | 'only what computes'
  | 'time that stands still'
  | 'no clock in the intrinsics'
  | 'granted chance'
  | 'bounded buffers'
  | 'frozen accessors of stacks';

const STACKS_LEFT = [
  ['stack?.get,', ''],
  ['stack?.set,', ''],
] as const;

/** A realm in which all calls have a Map `meeting` in common. Without `frozen`, it leaves the accessors of stacks as they are. */
export function realmOfMeetings(code: string, frozen: boolean): Realm {
  return realmFrom(
    edited(
      ['const shared = {', 'const shared = { meeting: new Map(),'],
      ['atob: shared.atob,', 'atob: shared.atob, meeting: shared.meeting,'],
      ...(frozen ? [] : STACKS_LEFT),
    ),
    code,
  );
}

/** What a realm is like without one layer. */
const WEAK: Readonly<Record<RealmLayer, (code: string) => Realm>> = {
  'realm of its own': noRealm,
  'no import expressions': (code) => realmFrom(source, code),
  'no code from strings': (code) => realmFrom(source, code, { strings: true }),
  'bundle as a function body': (code) => realmFrom(source, code, { body: false }),
  'strict frames': (code) => realmFrom(source, code, { strict: false }),
  'frozen intrinsics': (code) =>
    realmFrom(edited(['if (object !== global) Object.freeze(object);', ''], ['Object.freeze(global);', '']), code),
  'frozen bundle': (code) => realmFrom(edited(['run: Object.freeze(compiled)', 'run: compiled']), code),
  'instance per call': (code) =>
    realmFrom(
      edited(['ready.pop() ?? instantiate(loaded)', 'ready[0] ?? (ready.push(instantiate(loaded)), ready[0])']),
      code,
    ),
  'no stacks': (code) => realmFrom(edited([/delete \(Error *\)\.stackTraceLimit;/, '']), code),
  'no legacy matches': (code) => realmFrom(edited([/delete \(RegExp *\)\[name\];/, ';']), code),
  'only what computes': (code) => realmFrom(edited(['delete global[name];', ';']), code),
  'time that stands still': (code) =>
    realmFrom(edited(['Date: clock.dateAt(() => now),', 'Date: clock.RealDate,']), code),
  'no clock in the intrinsics': (code) =>
    realmFrom(
      edited(
        ['delete global.Temporal.Now;', ';'],
        ['bound(given(date))', 'bound(date)'],
        ['[given(date)]', '[date]'],
        ['global.Date = clock.dateAt(() => {', 'const unused = clock.dateAt(() => {'],
        ['clock.RealDate.prototype.constructor = global.Date;', ''],
      ),
      code,
    ),
  'granted chance': (code) => realmFrom(edited([/delete \(Math *\)\.random;/, '']), code),
  'bounded buffers': (code) => realmFrom(edited(['parts.boundBuffers();', '']), code),
  'frozen accessors of stacks': (code) => realmFrom(edited(...STACKS_LEFT), code),
};

/** A bundle of one method. `top` stands before the handlers. */
export function bundle(body: string, top = ''): string {
  return `${top}\nexports.handlers = { '${METHOD}': async function (request, ctx) { ${body} } };`;
}

/** Runs calls one after the other in one realm; what each of them answered, undefined where it failed or still runs. */
export async function answers(code: string, requests: readonly unknown[], layer?: RealmLayer): Promise<unknown[]> {
  return answersOf(layer === undefined ? openRealm(code, [METHOD]) : WEAK[layer](code), requests);
}

/** The same of a realm that is there. */
export async function answersOf(realm: Realm, requests: readonly unknown[]): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const [call, request] of requests.entries()) {
    const message = {
      kind: 'call',
      call,
      method: METHOD,
      json: request,
      streams: {},
      reads: ['cases'],
      stores: ['cases'],
      sends: {},
      releases: [],
    };
    const granted = { time: '2026-01-01T00:00:00.000Z', id: 'id', seed: String(call).padStart(64, '0') };
    realm.receive(written({ ...message, ...granted }));
    let response: unknown;
    for (let turn = 0; turn < 20; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      for (const line of realm.take().split('\n')) {
        if (line === '') continue;
        const { kind, json, operation } = readText(line);
        if (kind === 'done') response = json;
        if (operation !== undefined) {
          realm.receive(JSON.stringify({ kind: 'refused', operation, code: 'grant', message: 'refused' }));
        }
      }
    }
    found.push(response);
  }
  return found;
}
