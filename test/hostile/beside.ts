/** Attacks of one client of the proxy on the others: all their calls go over one attested connection. */

import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type * as proxyModule from '../../client/src/proxy/proxy.ts';
import { ECHO, startPretendServer } from '../support/pretend-server.ts';
import { askOddly, NOTE, type OddRequest, prefixed } from '../support/requests.ts';
import { type Attack, lasts, settling } from './attack.ts';
import { type Fields, CALL as RAW_CALL, RawConnection } from './raw-http2.ts';
import { type Weakness, weakened } from './weakened.ts';

/** Calls of the honest client, before and after. */
const HONEST_CALLS = 10;
/** A call that has no answer by then has none, in a control. */
const SILENCE_MS = 3000;
const PROXY = 'client/src/proxy/proxy.ts';
const CALL = { path: `${ECHO}Unary`, body: prefixed(NOTE) };
const ORDINARY: OddRequest = { name: 'an ordinary call' };

type Act = (proxy: proxyModule.RunningProxy) => Promise<ClientHttp2Session>;

/** Whether an honest client notices: a call of it fails, or a stream, or the connection behind the proxy is another one. */
async function noticed(act: Act, weakness: Weakness): Promise<boolean> {
  const server = await startPretendServer();
  const { startProxy } = (await import(weakened(PROXY, weakness))) as typeof proxyModule;
  const { target, references } = server;
  const proxy = await startProxy(target, { references, listen: { host: '127.0.0.1', port: 0 } });
  const honest = open(proxy);
  let hostile: ClientHttp2Session | undefined;
  try {
    await once(honest, 'remoteSettings');
    const upload = honest.request(head('ClientStream'), { endStream: false });
    const uploaded = statusOf(upload);
    upload.write(prefixed(NOTE));
    let failed = await failures(honest);
    hostile = await act(proxy);
    failed += await failures(honest);
    upload.end(prefixed(NOTE));
    return failed > 0 || (await uploaded) !== '0' || server.connections !== 1;
  } finally {
    honest.destroy();
    hostile?.destroy();
    await proxy.close();
    server.stop();
  }
}

function portOf({ address }: proxyModule.RunningProxy): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

function open(proxy: proxyModule.RunningProxy): ClientHttp2Session {
  const session = connect(`http://${proxy.address}`, { maxSendHeaderBlockLength: 1 << 20 });
  return session.on('error', () => {});
}

function head(method: string): OutgoingHttpHeaders {
  return { ':method': 'POST', ':path': ECHO + method, 'content-type': 'application/grpc', te: 'trailers' };
}

/** The status that a stream ends with, once it has. */
async function statusOf(stream: ClientHttp2Stream): Promise<string | undefined> {
  let said: IncomingHttpHeaders = {};
  const take = (headers: IncomingHttpHeaders): void => {
    said = { ...said, ...headers };
  };
  stream
    .on('response', take)
    .on('trailers', take)
    .on('error', () => {});
  stream.resume();
  await new Promise((resolve) => stream.once('close', resolve));
  return said['grpc-status'] as string | undefined;
}

/** How many calls of the honest client fail; one that is not answered at all fails too. */
async function failures(honest: ClientHttp2Session): Promise<number> {
  let failed = 0;
  for (let turn = 0; turn < HONEST_CALLS; turn++) {
    if (honest.destroyed || honest.closed) return failed + 1;
    const asked = askOddly(honest, CALL, ORDINARY);
    if (await lasts(settling(asked), SILENCE_MS)) return failed + 1;
    if ((await asked).grpc !== 0) failed++;
  }
  return failed;
}

interface Beside {
  readonly name: string;
  readonly layer: string;
  readonly act: Act;
  /** The layer off, where it is not its mark. */
  readonly off?: Weakness;
}

const BESIDE: readonly Beside[] = [
  {
    name: 'metadata by a name that Node refuses to send on',
    layer: 'names of the hop',
    act: async (proxy) => {
      const connection = (await RawConnection.openPlain(portOf(proxy))).greet();
      const fields: Fields = RAW_CALL.map(([name, value]) => [name, name === ':path' ? CALL.path : value]);
      const asked = connection.call(1, [...fields, ['http2-settings', 'x']], CALL.body);
      await lasts(settling(asked), SILENCE_MS);
      connection.close();
      return open(proxy);
    },
  },
  {
    name: 'silent streams in every place of the connection',
    layer: 'shares of the places',
    act: async (proxy) => {
      const session = open(proxy);
      for (let stream = 0; stream < 64; stream++)
        session.request(head('ClientStream'), { endStream: false }).on('error', () => {});
      // All are there once one after them is refused.
      await askOddly(session, CALL, { name: 'the last', fields: { origin: 'x' } });
      return session;
    },
    off: { constants: { TIMES_FREE: 1000 } },
  },
];

/** Attacks beside an honest client. */
export const besideAttacks: readonly Attack[] = BESIDE.map(
  ({ name, layer, act, off = { off: [layer] } }): Attack => ({
    group: 'beside',
    name,
    layer,
    attempt: () => noticed(act, {}),
    control: () => noticed(act, off),
  }),
);
