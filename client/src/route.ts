/**
 * The way to another machine: directly, or through the HTTP proxy that this machine's environment
 * names.
 */

import * as nodeHttp from 'node:http';
import { BlockList, connect, isIP, type Socket } from 'node:net';
import { ChannelError } from './errors.ts';

/** Variables by name, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A port of a machine. IPv6 addresses stand without brackets. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** An HTTP proxy that makes tunnels (CONNECT; RFC 9110, 9.3.6). */
export interface HttpProxy extends Target {
  /** `NAME:PASSWORD`, if its address has them. */
  readonly credentials?: string;
  /** The variable that names it. */
  readonly variable: string;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
/** Hosts that are never reached through a proxy, whatever the environment says. */
const LOOPBACK = 'localhost,127.0.0.1,[::1],::1';
/** Milliseconds for a TCP connection, and for a proxy's answer. */
const CONNECT_MS = 30_000;

/**
 * Parses `HOST:PORT`, with IPv6 addresses in brackets.
 * @throws ChannelError `unreachable` for another text
 */
export function parseTarget(text: string): Target {
  const [, host, port] = /^(?:dns:)?(\[[0-9a-fA-F:.]+\]|[^\s:/@[\]]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new ChannelError('unreachable', `${text} is not HOST:PORT`);
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

/** `HOST:PORT` of a target. */
export function targetText({ host, port }: Target): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * The proxy on the way to a target; undefined if there is none. The client reads names in lower
 * case first, then in upper case: `https_proxy`, else `all_proxy`. `no_proxy` lists, between commas
 * or spaces, hosts that are reached directly, each with all names below it; with `:PORT` an entry
 * covers that port alone, and `*` means every host. Loopback is always reached directly.
 * @throws ChannelError `unreachable` if a variable holds no address of an HTTP proxy
 */
export function proxyFor(target: Target, environment: Environment = process.env): HttpProxy | undefined {
  if (isDirect(target, environment)) return undefined;
  for (const name of ['https_proxy', 'all_proxy']) {
    for (const variable of [name, name.toUpperCase()]) {
      const value = environment[variable] ?? '';
      if (value !== '') return parseProxy(value, variable);
    }
  }
  return undefined;
}

function isDirect({ host, port }: Target, environment: Environment): boolean {
  const name = host.toLowerCase().replace(/\.$/, '');
  const family = isIP(name);
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  if (family !== 0 && loopback.check(name, family === 6 ? 'ipv6' : 'ipv4')) return true;
  return noProxyOf(environment)
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '*') return true;
      const [, listed = '', only] = /^(?:\*?\.)?(\[[^\]]*\]|[^:]*(?::[^:]*:.*)?)(?::(\d+))?$/.exec(entry) ?? [];
      const bare = listed.replace(/^\[(.*)\]$/, '$1');
      if (bare === '' || (only !== undefined && Number(only) !== port)) return false;
      return name === bare || (family === 0 && name.endsWith(`.${bare}`));
    });
}

function noProxyOf(environment: Environment): string {
  return environment.no_proxy || environment.NO_PROXY || '';
}

function parseProxy(value: string, variable: string): HttpProxy {
  const url = URL.parse(value.includes('://') ? value : `http://${value}`);
  if (url === null || url.protocol !== 'http:' || url.hostname === '') {
    throw new ChannelError('unreachable', `${variable} names no HTTP proxy, such as http://HOST:PORT`);
  }
  const credentials = [url.username, url.password].filter((part) => part !== '').map(decodeURIComponent);
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 80 : Number(url.port),
    variable,
    ...(credentials.length > 0 && { credentials: credentials.join(':') }),
  };
}

/**
 * A TCP connection to a target.
 * @param within milliseconds
 * @throws ChannelError `unreachable`, which names target, proxy and reason
 */
export async function dial(
  target: Target,
  environment: Environment = process.env,
  within: number = CONNECT_MS,
): Promise<Socket> {
  const proxy = proxyFor(target, environment);
  const through = proxy === undefined ? '' : ` through ${describeProxy(proxy)}`;
  try {
    return await (proxy === undefined ? direct(target, within) : tunnel(target, proxy, within));
  } catch (cause) {
    const reason = reasonOf(cause);
    throw new ChannelError('unreachable', `no connection to ${targetText(target)}${through}: ${reason}`, { cause });
  }
}

/** A proxy for people, without its password. */
export function describeProxy(proxy: HttpProxy): string {
  return `the proxy ${targetText(proxy)} (${proxy.variable})`;
}

function direct({ host, port }: Target, within: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host, port });
  socket.setTimeout(within, () => socket.destroy(new Error('no answer')));
  socket.once('error', reject);
  socket.once('connect', () => {
    socket.off('error', reject);
    socket.setTimeout(0);
    resolve(socket);
  });
  return promise;
}

function tunnel(target: Target, { host, port, credentials }: HttpProxy, within: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const path = targetText(target);
  const authorization =
    credentials === undefined ? {} : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
  const asked = nodeHttp.request({
    host,
    port,
    method: 'CONNECT',
    path,
    headers: { host: path, ...authorization },
    agent: false,
    timeout: within,
  });
  asked.once('timeout', () => asked.destroy(new Error('no answer')));
  asked.once('error', reject);
  asked.once('response', ({ statusCode }) => asked.destroy(new Error(`the proxy answers ${statusCode}`)));
  asked.once('connect', ({ statusCode }, socket: Socket, head: Buffer) => {
    if (statusCode !== 200) {
      socket.destroy();
      reject(new Error(`the proxy answers ${statusCode}`));
      return;
    }
    if (head.length > 0) socket.unshift(head);
    socket.setTimeout(0);
    resolve(socket);
  });
  asked.end();
  return promise;
}

/** Node's word for what went wrong; if there are several addresses, of the first. */
function reasonOf(cause: unknown): string {
  const [first] = cause instanceof AggregateError ? cause.errors : [cause];
  return first instanceof Error ? first.message : String(first);
}

/**
 * Sends what this process fetches by Node's own `fetch` and HTTP client the same way: collateral,
 * and inputs of images. It is for the first lines of a program, because a library does not change
 * its process.
 * @returns undoes it
 * @throws ChannelError `unreachable` if there is a proxy, and this Node cannot be told so (Node 22)
 *
 * @example
 * ```ts
 * import { routeFetches } from '@enclaim/client/network';
 *
 * routeFetches(); // as https_proxy, all_proxy and no_proxy say
 * ```
 */
export function routeFetches(environment: Environment = process.env): () => void {
  const [http, https, all] = ['http_proxy', 'https_proxy', 'all_proxy'].map(
    (name) => environment[name] || environment[name.toUpperCase()] || undefined,
  );
  const [plain, secure] = [http ?? all, https ?? all];
  if (plain === undefined && secure === undefined) return () => {};
  // Going directly instead would tell a network what the proxy is there to hide.
  if (!('setGlobalProxyFromEnv' in nodeHttp))
    throw new ChannelError('unreachable', `Node ${process.versions.node} cannot fetch through a proxy`);
  return nodeHttp.setGlobalProxyFromEnv({
    ...(plain !== undefined && { http_proxy: plain }),
    ...(secure !== undefined && { https_proxy: secure }),
    no_proxy: [noProxyOf(environment), LOOPBACK].filter((text) => text !== '').join(),
  });
}
