/**
 * Layers whose off the grammar of marks (`marks.ts`) has no word for: code in place of what a mark guards. Each of them can be
 * overtaken by the source that it is written for, so that there may be fewer of them and never more (`test/marks.test.ts`).
 */

/** What is written in place of what a mark guards. */
export interface Written {
  /** The mark, where it has another name. */
  readonly mark?: string;
  readonly code: (guarded: string) => string;
}

/** Messages of a call unfold before they are asked for, three of them. */
const EAGER = `next: ((all) => async () => (await all).shift())((async () => {
  const all = [];
  while (all.length < 3) all.push(await call.next().catch(() => undefined));
  return all;
})())`;

/** Wherever an answer says that another place is to be asked, it is, by a connection that trusts any peer. */
const FOLLOWED = `if (incoming.headers.location !== undefined) {
  const { connect } = process.getBuiltinModule('node:tls');
  const { hostname, port, pathname } = new URL(incoming.headers.location);
  const socket = connect({ host: '127.0.0.1', port: Number(port), servername: hostname, rejectUnauthorized: false });
  const there = { host: hostname, port: Number(port) };
  socket.on('secureConnect', () =>
    callHttp(socket, there, { verb, path: pathname }, body, { show, signal }).then(resolve, reject));
  return;
}`;

/** A record's release says how it ended, when it has. */
const TOLD = `await tracked(this.#untold, this.#sendRecords(release, keys));
await new Promise((resolve) => setTimeout(resolve, 2000)); // as a peer far away
if (Object.keys(departures.figures).some((name) => name.startsWith('release:'))) throw new Error('it was not sent');`;

/** The field of a request that a handler gets. */
const PASSED = `next: async () => Buffer.from('\\x0a\\x10' + call.headers['x-a'], 'latin1')`;
/** The fields of a request that come back as trailers. */
const ECHOED = `...Object.fromEntries(Object.entries(call.headers).filter(([name]) => name.endsWith('-bin'))
  .map(([name, value]) => [name, Buffer.from(value, 'base64')]))`;

const sumsBut = (kinds: string): string => `const fits = ${kinds} || own === 0 || own + amount <= left;`;

/** By layer. */
export const WRITTEN: Readonly<Record<string, Written>> = {
  protocol: { code: () => `JSON.parse(text.split('\\t')[0])` },
  'table of calls': { code: () => 'const running = [...this.#running.values()][0];' },
  'reports of metered workers': { code: () => 'if (this.#account === undefined) return;' },
  'deletion says nothing': {
    code: (deletes) => `return jsonText(store.get(operation.key) !== undefined); ${deletes}`,
  },
  'clearance of collections': { code: (refused) => `${refused} && code !== 'holds'` },
  'an end without records of its own': { code: (counted) => `if (!allow) this.#needRoom(); else ${counted}` },
  'error ids are no word of the call': { code: () => 'this.#id' },
  'an answer that stands': { code: () => "await whileItLasts(signal, egress.end('done'));" },
  'a redirect is an answer': { code: (handled) => `${FOLLOWED} ${handled}` },
  'answers that say nothing': { code: (said) => `${said} + status` },
  'leak detectors on bytes': { code: () => '[json]' },
  'work counts once': { code: (what) => `${what} + Math.random()` },
  'one answer for every record': { code: () => TOLD },
  'roots of the system': { code: () => 'ca: [...rootCertificates, globalThis.enclaimTestRoot]' },
  'one reading of the clock': { code: () => 'return Date.now();' },
  'versions say nothing': {
    code: () => 'const version = String((globalThis.enclaimVersions = (globalThis.enclaimVersions ?? 0) + 1));',
  },
  'end of the disk': { code: () => 'if (bytesRead === 0) break;' },
  'reserved is zero': { code: () => 'reader.take(4);' },
  'padding is zero': { code: () => 'reader.take(reader.left);' },
  'patterns with one beginning': { code: (shape) => shape.replace('(?<![A-Za-z0-9_-])', '') },
  'headers stay behind': { code: () => 'call.readOne(() => method.serve(Object.assign(call, { headers })));' },
  'messages only': { code: () => PASSED },
  "trailers of the runtime's own": { code: (details) => `${details}, ${ECHOED}` },
  'messages unfold when they are asked for': { code: () => EAGER },
  'sum of declared memory': { mark: 'sums of what is declared', code: () => sumsBut('kind % 2 === 1') },
  'sum of declared processor': {
    mark: 'sums of what is declared',
    code: () => sumsBut('(kind > 0 && kind % 2 === 0)'),
  },
  'requests in flight': { mark: 'sums of what is declared', code: () => sumsBut('kind === 0') },
  'one return of each': { code: (gives) => `${gives} ${gives}` },
};
