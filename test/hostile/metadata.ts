/** Attacks by headers: what a client says beside its message reaches no handler, no receipt and no decision. */

import { once } from 'node:events';
import { connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { parseReceipt } from '@enclaim/attestation/receipt';
import type { LabOptions } from '../support/lab.ts';
import { type Attack, lasts, settling } from './attack.ts';
import { block, CALL, endsStream, type Fields, FLAG, FRAME, frame, NOTE, RawConnection } from './raw-http2.ts';
import { serve } from './served.ts';
import type { Weakness } from './weakened.ts';

const ECHO: LabOptions['handlers'] = { Sum: 'return { key: request.key, word: JSON.stringify([request, ctx]) }' };
const SECRET = 'tell-the-handler';

/** A call by Node's own client. */
async function call(
  port: number,
  headers: OutgoingHttpHeaders,
): Promise<{ body: string; trailers: IncomingHttpHeaders }> {
  const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  try {
    const given = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers', ...headers };
    const stream = session.request({ ':path': '/lab.v1.Lab/Sum', ...given });
    let trailers: IncomingHttpHeaders = {};
    stream.on('trailers', (said) => {
      trailers = said;
    });
    stream.on('response', (said) => {
      trailers = said;
    });
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.end(NOTE);
    await once(stream, 'close');
    return { body: Buffer.concat(chunks).toString('latin1'), trailers };
  } finally {
    session.destroy();
  }
}

/** Whether a request with these fields gets an answer from the handler. */
async function answered(port: number, fields: Fields, end: readonly Uint8Array[] = []): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet();
  const flags = end.length === 0 ? FLAG.endStream : 0;
  connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(fields)), frame(FRAME.data, flags, 1, NOTE), ...end);
  await connection.until(({ type, flags, stream }) => stream === 1 && endsStream(type, flags));
  const data = connection.frames.find(({ type, stream }) => type === FRAME.data && stream === 1);
  connection.close();
  return data !== undefined;
}

const without = (name: string): Fields => CALL.filter(([each]) => each !== name);
const other = (name: string, value: string): Fields => CALL.map(([each, was]) => [each, each === name ? value : was]);

/** Requests that no layer of HTTP/2 or gRPC may let through; each is the ordinary call but for one thing. */
const MALFORMED: Readonly<Record<string, readonly [layer: string, fields: Fields]>> = {
  'a second path': ['fields of HTTP/2', [...CALL.slice(0, 4), [':path', '/lab.v1.Lab/Put'], ...CALL.slice(4)]],
  'a second method': ['fields of HTTP/2', [[':method', 'GET'], ...CALL]],
  'a second authority': ['fields of HTTP/2', [[':authority', 'other.example'], ...CALL]],
  'a path after other fields': ['fields of HTTP/2', [...without(':path'), [':path', '/lab.v1.Lab/Sum']]],
  'a pseudo field that does not exist': ['fields of HTTP/2', [[':caller', 'auditor'], ...CALL]],
  'the status of an answer in a request': ['fields of HTTP/2', [[':status', '200'], ...CALL]],
  'no scheme': ['fields of HTTP/2', without(':scheme')],
  'no path': ['fields of HTTP/2', without(':path')],
  'a name in capitals': ['fields of HTTP/2', [...CALL, ['Grpc-Timeout', '1S']]],
  'a field of the connection': ['fields of HTTP/2', [...CALL, ['connection', 'upgrade']]],
  'an encoding of HTTP/1': ['fields of HTTP/2', [...CALL, ['transfer-encoding', 'chunked']]],
  'a length that is not the message’s': ['fields of HTTP/2', [...CALL, ['content-length', '1']]],
  'another type of content': ['type of content', other('content-type', 'text/html')],
  'no type of content': ['type of content', without('content-type')],
  'a path below a method': ['registered paths', other(':path', '/lab.v1.Lab/Sum/')],
  'a path with an escape': ['registered paths', other(':path', '/lab.v1.Lab/%53um')],
  'a path with a query': ['registered paths', other(':path', '/lab.v1.Lab/Sum?a=b')],
  'a path that climbs': ['registered paths', other(':path', '/lab.v1.Lab/Read/../Sum')],
  'a path with two slashes': ['registered paths', other(':path', '//lab.v1.Lab/Sum')],
  'a path in other letters': ['registered paths', other(':path', '/lab.v1.Lab/SUM')],
  'a path of an object’s own': ['registered paths', other(':path', '/__proto__')],
};

interface Smuggled {
  readonly layer: string;
  readonly off: Weakness;
  readonly scaled?: Weakness;
  readonly handlers?: LabOptions['handlers'];
  readonly succeeds: (port: number) => Promise<boolean>;
}

/** A call knows its headers, and gives them to the handler, or back to the caller. */
const PASSED_ON: Weakness = { off: ['headers stay behind', 'messages only'] };
const ECHOED: Weakness = { off: ['headers stay behind', "trailers of the runtime's own"] };
const LONG: Weakness = { constants: { 'LIMITS.call': 500 } };
/** No request is judged. */
const UNASKED: Weakness = { off: ['one table of requests'] };

/** Whether a request gets an answer from the handler. */
function executes(fields: Fields): (port: number) => Promise<boolean> {
  return (port) => answered(port, fields, [frame(FRAME.data, FLAG.endStream, 1)]);
}

/** Whether a call whose caller grants it `timeout` is still running after the server's own limit. */
function outlasts(timeout: string): (port: number) => Promise<boolean> {
  return async (port) => {
    const connection = (await RawConnection.open(port)).greet();
    const ended = connection.call(1, [...CALL, ['grpc-timeout', timeout]], NOTE);
    const runs = await lasts(settling(ended), 2500);
    connection.close();
    return runs;
  };
}

const SMUGGLED: Readonly<Record<string, Smuggled>> = {
  'tell the handler something beside the message': {
    layer: 'messages only',
    off: PASSED_ON,
    succeeds: async (port) => (await call(port, { 'x-a': SECRET })).body.includes(SECRET),
  },
  'claim authority in a field': {
    layer: 'messages only',
    off: PASSED_ON,
    succeeds: async (port) => (await call(port, { 'x-a': 'override=granted' })).body.includes('override'),
  },
  'a receipt of the caller’s own': {
    layer: "trailers of the runtime's own",
    off: ECHOED,
    succeeds: async (port) => {
      const { trailers } = await call(port, { 'enclaim-receipt-bin': Buffer.from('forged').toString('base64') });
      return isForged(trailers['enclaim-receipt-bin']);
    },
  },
  'a status of the caller’s own': {
    layer: "trailers of the runtime's own",
    off: ECHOED,
    succeeds: async (port) =>
      'grpc-status-details-bin' in (await call(port, { 'grpc-status-details-bin': 'AAAA' })).trailers,
  },
  'a timeout of eleven thousand years': {
    layer: 'life of a call',
    scaled: LONG,
    off: {},
    handlers: { Sum: 'await new Promise(() => {})' },
    succeeds: outlasts('99999999H'),
  },
  'a timeout of eleven digits': {
    layer: 'one table of requests',
    off: UNASKED,
    succeeds: executes([...CALL, ['grpc-timeout', '00000000001H']]),
  },
  'a timeout before now': {
    layer: 'one table of requests',
    off: UNASKED,
    succeeds: executes([...CALL, ['grpc-timeout', '-1H']]),
  },
  'a call by PUT': { layer: 'one table of requests', off: UNASKED, succeeds: executes(other(':method', 'PUT')) },
  'a call of gRPC-Web': {
    layer: 'one table of requests',
    off: UNASKED,
    succeeds: executes(other('content-type', 'application/grpc-web+proto')),
  },
  'a call of something that begins as gRPC': {
    layer: 'one table of requests',
    off: UNASKED,
    succeeds: executes(other('content-type', 'application/grpc+thrift')),
  },
  'a hundred entries of metadata': {
    layer: 'one table of requests',
    off: UNASKED,
    succeeds: executes([...CALL, ...Array.from({ length: 100 }, (_, at) => [`k${at}`, 'v'] as const)]),
  },
};

/** Whether what stands for a receipt holds another one than the runtime's. */
function isForged(trailer: string | string[] | undefined): boolean {
  try {
    parseReceipt(Buffer.from(String(trailer), 'base64'));
    return String(trailer).includes(',');
  } catch {
    return true;
  }
}

async function tried({ handlers = ECHO, succeeds }: Smuggled, weakness: Weakness): Promise<boolean> {
  const { port, close } = await serve(handlers, weakness);
  try {
    return await succeeds(port);
  } finally {
    close();
  }
}

async function malformed(fields: Fields): Promise<boolean> {
  const { port, close } = await serve(ECHO);
  try {
    return await answered(port, fields);
  } finally {
    close();
  }
}

/** Every attack by headers. The control of a malformed request is the ordinary one. */
export const metadataAttacks: readonly Attack[] = [
  ...Object.entries(MALFORMED).map(([name, [layer, fields]]): Attack => {
    return { group: 'metadata', name, layer, attempt: () => malformed(fields), control: () => malformed(CALL) };
  }),
  ...Object.entries(SMUGGLED).map(([name, attack]): Attack => {
    const { layer, scaled = {}, off } = attack;
    return { group: 'metadata', name, layer, attempt: () => tried(attack, scaled), control: () => tried(attack, off) };
  }),
];
