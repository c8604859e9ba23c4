/**
 * An attested server without a TPM or a runtime: evidence under an attestation key of this process, an echo service of all
 * four kinds with receipts, and boots that can be rotated under the feet of its clients.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { EXPORTER_LABEL, encodeNonceLeaf } from '@enclaim/attestation/batch';
import { toHex } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, type Sha256 } from '@enclaim/attestation/digest';
import { type Evidence, EvidenceSchema } from '@enclaim/attestation/evidence';
import { FrameStream } from '@enclaim/attestation/frame-stream';
import { NONCE_FIELD } from '@enclaim/attestation/grpc-request';
import { ALPN } from '@enclaim/attestation/handshake';
import { type CurrentReceiptBody, commitment, RECEIPT_TRAILER } from '@enclaim/attestation/receipt';
import { type BootStatement, bootDigest, type Ed25519Text, encodeStatement } from '@enclaim/attestation/statement';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import {
  type ConnectionInjector,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  status,
} from '@grpc/grpc-js';
import { resultOf } from '../../runtime/src/batcher.ts';
import { type BootKeys, makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { type Attested, attestConnection } from '../../runtime/src/channel/handshake.ts';
import { QuoteBatcher } from '../../runtime/src/hardware/quote-batch.ts';
import { ReceiptSigner } from '../../runtime/src/log/receipts.ts';
import { type FakeAttestationKey, fakeAttestationKey } from '../fakes/attestation-key.ts';
import { volatileOf } from './app.ts';
import { pretendMachine } from './pretend-machine.ts';

/** What may be other than in an honest server. */
export interface PretendOptions {
  readonly key?: FakeAttestationKey;
  readonly statement?: Partial<BootStatement>;
  /** Key that the policy names as its owner's. */
  readonly owner?: Ed25519Text;
  /** Changes evidence on its way out, as whoever runs the server can. */
  readonly forge?: (evidence: Evidence) => void;
  /** Its evidence is bound to its TLS key alone, and made for every connection under it. */
  readonly unbound?: true;
  /** Answers every call of a method with the receipt of the first. */
  readonly replays?: true;
  /** What every receipt says in place of the truth. */
  readonly receipt?: Partial<CurrentReceiptBody>;
  /** Answers a question of reflection, or never does; without it there is no reflection. */
  readonly reflect?: (question: Buffer) => Buffer | undefined;
  /** Stands in for the whole exchange after TLS. */
  readonly exchange?: (socket: TLSSocket) => Promise<void>;
  /** Carries the calls of connections in place of the echo service. */
  readonly carry?: (socket: TLSSocket, boot: PretendBoot) => void;
  /** Told of each boot before it is connected to. */
  readonly onBoot?: (boot: PretendBoot) => void;
  /** Also takes connections on plain h2, which are given no evidence. */
  readonly plain?: true;
}

/** A boot, for whoever carries its calls. */
export interface PretendBoot {
  readonly keys: BootKeys;
  readonly statement: BootStatement;
  /** Digest of the statement. */
  readonly digest: Sha256;
}

/** The server. */
export interface PretendServer {
  readonly port: number;
  readonly target: string;
  /** Digest of the attestation key, which `references` pin. */
  readonly attestationKey: DigestText<'sha256'>;
  readonly references: References;
  /** The statement of the boot that new connections meet. */
  readonly statement: BootStatement;
  /** Number of connections that were made so far. */
  readonly connections: number;
  /** Lets the calls of `Hold` end. */
  release(): void;
  /** Boots anew: other keys, other statement. Old connections are told to go away, and finish their calls. */
  rotate(): void;
  stop(): void;
}

/** The echo service's name. */
export const ECHO = '/test.v1.Echo/';

const policyText = volatileOf(readFileSync(join(import.meta.dirname, '../../examples/clinic/policy.yaml'), 'utf8'));

/** The clinic's policy, with an owner's key where one is given. */
export function policyOf(owner?: Ed25519Text): string {
  if (owner === undefined) return policyText;
  return policyText.replace('contact: privacy@clinic.example', `contact: privacy@clinic.example, key: "${owner}"`);
}

/** One boot of the machine: keys, statement, and what serves. */
function pretendBoot(
  machine: ReturnType<typeof pretendMachine>,
  policy: Uint8Array,
  options: PretendOptions,
  held: () => Promise<void>,
) {
  const { akPublic, ekPublic } = machine;
  const keys = makeBootKeys();
  const statement = machine.statementOf(keys, { owner: options.owner ?? null, ...options.statement });
  const bytes = encodeStatement(statement);
  const digestOfBoot = bootDigest(bytes);
  const batcher = new QuoteBatcher(async (root) => machine.quote(root, digestOfBoot));
  const platform: Attested['platform'] = {
    kind: statement.platform,
    device: { ak: akPublic, ek: ekPublic, ekCertificate: null },
    sign: () => Promise.reject(new Error('signing goes through the batcher')),
    activate: () => Promise.reject(new Error('pinned keys are not activated')),
  };
  const attested: Attested = {
    platform,
    batcher,
    statement: bytes,
    policy,
    spkiDigest: keys.tls.spkiDigest,
  };
  const receipts = new ReceiptSigner(keys.signReceipts);
  const { receipt, reflect } = options;
  const given = options.replays && new Map<string, Uint8Array>();
  const grpc = echoServer({
    statement,
    digest: digestOfBoot,
    receipts,
    held,
    receipt,
    given,
    reflect,
  });
  const made = { keys, statement, digest: digestOfBoot, attested, grpc };
  options.onBoot?.(made);
  return made;
}

/** Starts a server. */
export async function startPretendServer(options: PretendOptions = {}): Promise<PretendServer> {
  const key = options.key ?? fakeAttestationKey();
  const policy = canonicalPolicy(parsePolicy(policyOf(options.owner)));
  const machine = pretendMachine(key, policy);
  const { attestationKey, references } = machine;
  let held = Promise.withResolvers<void>();
  let connections = 0;

  const bootAnew = () => pretendBoot(machine, policy, options, () => held.promise);
  let current = bootAnew();
  const secure = () => ({ key: current.keys.tls.key, cert: current.keys.certificate(new Uint8Array()) });
  const tls = createServer({
    ...secure(),
    minVersion: 'TLSv1.3',
    ALPNProtocols: options.plain ? [ALPN, 'h2'] : [ALPN],
    noDelay: true,
  });
  const sockets = new Set<TLSSocket>();
  tls.on('secureConnection', async (socket: TLSSocket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    const boot = current;
    const { attested, grpc } = boot;
    try {
      if (socket.alpnProtocol !== ALPN) {
        // nothing is shown on plain h2
      } else if (options.exchange !== undefined) await options.exchange(socket);
      else if (options.forge !== undefined || options.unbound) await lie(socket, attested, options);
      else await attestConnection(socket, attested);
      if (options.carry !== undefined) options.carry(socket, boot);
      else grpc.injector.injectConnection(socket);
    } catch {
      socket.destroy();
    }
  });
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  const address = tls.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    target: `127.0.0.1:${port}`,
    attestationKey,
    references,
    get statement() {
      return current.statement;
    },
    get connections() {
      return connections;
    },
    release: () => {
      held.resolve();
      held = Promise.withResolvers();
    },
    rotate: () => {
      current.grpc.injector.drain(10_000);
      current = bootAnew();
      tls.setSecureContext(secure());
    },
    stop: () => {
      held.resolve();
      current.grpc.server.forceShutdown();
      tls.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** The exchange of a server that changes its evidence on the way out. */
async function lie(
  socket: TLSSocket,
  { platform, batcher, statement, policy, spkiDigest }: Attested,
  { forge = () => {}, unbound }: PretendOptions,
): Promise<void> {
  using frames = new FrameStream(socket, (_why, message) => new Error(message));
  const { value: hello } = await frames.receive('hello');
  const exporter = unbound ? null : socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0));
  const { leaf, hardware } = await batcher.add(encodeNonceLeaf({ nonce: hello.nonce, spki: spkiDigest, exporter }));
  const parts = { statement, policy, leaf: { ...leaf, path: [...leaf.path] }, hardware };
  const evidence = create(EvidenceSchema, { platform: platform.kind, ...parts });
  forge(evidence);
  await frames.send({ case: 'evidence', value: evidence });
  await frames.receive('done');
}

interface Echo {
  readonly statement: BootStatement;
  readonly digest: Uint8Array;
  readonly receipts: ReceiptSigner;
  held(): Promise<void>;
  readonly receipt: Partial<CurrentReceiptBody> | undefined;
  /** Receipts by method, if the first of each is given again. */
  readonly given: Map<string, Uint8Array> | undefined;
  readonly reflect: PretendOptions['reflect'];
}

type Stream = ServerDuplexStream<Buffer, Buffer>;

/** What each method answers, given its requests one by one. */
const METHODS: Readonly<
  Record<string, (requests: AsyncIterable<Buffer>, held: () => Promise<void>) => AsyncIterable<Buffer>>
> = {
  Unary: whole,
  NoReceipt: whole,
  OtherReceipt: whole,
  Fail: whole,
  async *Hold(requests, held) {
    const all = await Array.fromAsync(requests);
    await held();
    yield Buffer.concat(all);
  },
  async *ServerStream(requests) {
    for await (const request of requests) for (let index = 0; index < (request[0] ?? 0); index++) yield request;
  },
  async *ClientStream(requests) {
    let total = 0;
    for await (const request of requests) total += request.length;
    yield Buffer.from(String(total));
  },
  async *Bidi(requests) {
    yield* requests;
  },
};

async function* whole(requests: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  yield Buffer.concat(await Array.fromAsync(requests));
}

function echoServer(echo: Echo): { server: Server; injector: ConnectionInjector } {
  const server = new Server({ 'grpc.max_receive_message_length': 8 << 20, 'grpc.max_send_message_length': 8 << 20 });
  const same = (bytes: Buffer): Buffer => bytes;
  const names = Object.keys(METHODS);
  const stream = (path: string) => ({
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  });
  const definition = Object.fromEntries(names.map((name) => [name, stream(`${ECHO}${name}`)]));
  const handlers = Object.fromEntries(names.map((name) => [name, (stream: Stream) => void answer(name, stream, echo)]));
  server.addService(definition, handlers);
  const { reflect } = echo;
  if (reflect !== undefined) {
    server.addService(
      { ServerReflectionInfo: stream('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo') },
      {
        ServerReflectionInfo: (asked: Stream) => {
          asked.on('data', (question: Buffer) => {
            const said = reflect(question);
            if (said !== undefined) asked.write(said);
          });
          asked.on('error', () => {});
        },
      },
    );
  }
  return { server, injector: server.createConnectionInjector(ServerCredentials.createInsecure()) };
}

/** A refusal as a runtime makes one, but for its receipt. */
function fail(stream: Stream): void {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from([8, 9]));
  metadata.set('grpc-retry-pushback-ms', '7');
  stream.emit('error', { code: status.FAILED_PRECONDITION, details: 'a/b c: 100% gr\u00fcn', metadata });
}

async function answer(name: string, stream: Stream, echo: Echo): Promise<void> {
  if (name === 'Fail') return fail(stream);
  const request: Buffer[] = [];
  const response: Buffer[] = [];
  const reading = async function* (): AsyncIterable<Buffer> {
    // An iterator that destroys what it read would end the answer with the question.
    for await (const message of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      request.push(message);
      yield message;
    }
  };
  const back = new Metadata();
  for (const key of ['echo', 'echo-bin']) for (const value of stream.metadata.get(key)) back.add(key, value);
  const trailer = new Metadata();
  for (const value of stream.metadata.get('echo')) trailer.add('echo-trailer', value);
  stream.sendMetadata(back);
  try {
    for await (const message of METHODS[name]?.(reading(), echo.held) ?? []) {
      response.push(message);
      if (!stream.write(message)) await once(stream, 'drain');
    }
  } catch {
    return; // cancelled
  }
  if (name !== 'NoReceipt') {
    const told = name === 'OtherReceipt' ? [Buffer.from('something else')] : response;
    const made = await receiptOf(name, request, told, { ...echo, nonce: nonceIn(stream.metadata) });
    const first = echo.given?.get(name) ?? made;
    echo.given?.set(name, first);
    trailer.set(RECEIPT_TRAILER, Buffer.from(first));
  }
  stream.end(trailer);
}

function nonceIn(metadata: Metadata): string | null {
  const [nonce] = metadata.get(NONCE_FIELD);
  return nonce === undefined ? null : Buffer.from(nonce as Buffer).toString('hex');
}

let sequence = 0;

function receiptOf(
  name: string,
  request: Buffer[],
  response: Buffer[],
  { nonce, ...echo }: Echo & { readonly nonce: string | null },
): Promise<Uint8Array> {
  const salt = randomBytes(16);
  const body: CurrentReceiptBody = {
    version: 3,
    boot: digestText('sha256', echo.digest),
    policy: echo.statement.policy,
    method: `${ECHO}${name}`.slice(1),
    salt: toHex(salt),
    request: digestText('sha256', commitment('request', salt, request)),
    response: digestText('sha256', commitment('response', salt, response)),
    status: 0,
    taken: request.length,
    index: 0,
    within: 1000,
    nonce,
    text: null,
    decision: { result: 'allow', label: [], returned: [] },
    sequence: sequence++,
    record: digestText('sha256', new Uint8Array(32)),
    time: new Date().toISOString(),
    ...echo.receipt,
  };
  return resultOf(echo.receipts.sign(() => body));
}
