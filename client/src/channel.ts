/** The attested channel: a grpc-js channel that shows its verdict first. */

import type { PeerCertificate } from 'node:tls';
import type { DescService } from '@bufbuild/protobuf';
import { parseReferences, type References, type Verdict } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { type Demand, type Policy, parseDemand } from '@enclaim/policy-schema';
import {
  type ChannelInterface as Channel,
  type ChannelOptions,
  connectivityState,
  Channel as GrpcChannel,
  status,
} from '@grpc/grpc-js';
import type { Attestation } from './attestation.ts';
import { AttestedCredentials } from './attested-credentials.ts';
import { boundedCall } from './bounded-call.ts';
import { ChannelError } from './errors.ts';
import { type Call, type CheckedReceipt, receiptCall } from './receipt-call.ts';
import { describeProxy, dial, parseTarget, proxyFor, type Target, targetText } from './route.ts';
import { type ServiceClient, serviceClient } from './service-client.ts';
import { type CollateralSource, VendorCollateral } from './vendor-collateral.ts';

const HANDSHAKE_MS = 30_000;
/** How often a channel that waits for its first verdict looks whether it still has to. */
const LOOK_MS = 1_000;
/** One cache for all channels of this process. */
export const MAKERS: VendorCollateral = new VendorCollateral();

/** Options that a caller cannot change. */
const FIXED_OPTIONS: ChannelOptions = {
  // Connections are this channel's own.
  'grpc.use_local_subchannel_pool': 1,
  // What was sent to one boot is never sent to another behind the caller's back.
  'grpc.enable_retries': 0,
  // A DNS server does not configure the client.
  'grpc.service_config_disable_resolution': 1,
};

/**
 * Milliseconds for which the channel relies on a verdict, unless it ends before: then the machine
 * shows its evidence again.
 */
const MAX_VERDICT_AGE_MS = 3_600_000;
/** Milliseconds that calls under way get when the verdict of their connection has ended. */
const DRAIN_MS = 10_000;

/** Demands of a channel on every connection that it makes. */
export interface ConnectOptions {
  /** The accepted values and trusted hardware. Bytes and text are a references file (JSON). */
  readonly references: References | Uint8Array | string;
  /** Demands on the attested policy, as texts of `--require` such as `claim access-logged`. */
  readonly require?: readonly string[];
  /** The same, read already; a connection must show both. */
  readonly demands?: readonly Demand[];
  /** Milliseconds since 1970; by default this machine's clock. */
  readonly now?: () => number;
  /**
   * Source of certificates and lists that a processor's evidence came without; by default the
   * makers' services.
   */
  readonly collateral?: CollateralSource;
  /** Milliseconds until the first verdict must be there; by default 60 000. */
  readonly timeout?: number;
  /** Milliseconds that one connection may take over TLS and evidence; by default 30 000. */
  readonly handshakeTimeout?: number;
  /**
   * Milliseconds for which the channel relies on a verdict, unless what the verdict rests on ends
   * before; by default, and at most, an hour.
   */
  readonly maxVerdictAge?: number;
  /** The boot must have begun then or later, milliseconds since 1970; by default whenever. */
  readonly newerThan?: number | undefined;
  /** Policies that the client has, for demands that compare with one (`neverWeakerThan`). */
  readonly known?: readonly Policy[] | undefined;
  /**
   * Told of each connection that showed its evidence: the first, and every one after a
   * reconnection.
   */
  readonly onAttested?: (attestation: Attestation) => void;
  /** Told of each receipt that was checked. */
  readonly onReceipt?: (receipt: CheckedReceipt) => void;
  readonly channelOptions?: ChannelOptions;
}

/**
 * Connects to `HOST:PORT` and resolves once a connection has shown what the client demands. The
 * environment decides the way there (route.ts): directly, or through an HTTP proxy. The channel's
 * `client` calls a service; a client that grpc-js generated takes the channel as its
 * `channelOverride`.
 *
 * @throws AppraisalError, PolicyError for references or demands that cannot be read
 * @throws EvidenceError, CollateralError, VerdictError, ChannelError; no application byte was sent
 * then
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { Intake } from './gen/clinic/v1/intake_pb.js'; // any service of protoc-gen-es
 *
 * await using server = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 *   require: ['claim no-undisclosed-recipients'],
 * }); // throws before an application byte leaves
 *
 * const { message, receipt } = await server.client(Intake).submit({ patient: { id: 'p1' } });
 * console.log(message.caseId, receipt.body.method);
 * ```
 */
export async function connect(target: string, options: ConnectOptions): Promise<AttestedChannel> {
  const channel = new AttestedChannel(target, options);
  try {
    await channel.ready(options.timeout ?? 60_000);
    return channel;
  } catch (error) {
    channel.close();
    throw error;
  }
}

/**
 * A grpc-js channel over attested connections, made by {@link connect}. Every connection is
 * verified before it carries a call. A call belongs to the connection that carried it, whatever
 * became of the channel meanwhile.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
 * import { connect } from '@enclaim/client';
 *
 * await using channel = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * const IntakeClient = makeGenericClientConstructor({}, 'clinic.v1.Intake'); // or generated code
 * const client = new IntakeClient(channel.getTarget(), credentials.createInsecure(), {
 *   channelOverride: channel,
 * });
 * console.log(client.getChannel() === channel);
 * ```
 */
export class AttestedChannel implements Channel {
  readonly #target: Target;
  readonly #now: () => number;
  readonly #maxAge: number;
  readonly #onReceipt: (receipt: CheckedReceipt) => void;
  readonly #first = Promise.withResolvers<void>();
  /** Attestations by the object with which grpc-js tells a call of its connection. */
  readonly #attestations = new WeakMap<PeerCertificate, Attestation>();
  readonly #make: () => GrpcChannel;
  readonly #credentials: AttestedCredentials;
  #latest: Attestation | undefined;
  #channel: GrpcChannel;
  /** The last moment of the latest verdict; undefined while no connection has one. */
  #end: number | undefined;
  #renewal: NodeJS.Timeout | undefined;
  /** Calls under way over connections of the channel at hand. */
  #calls = new Set<Call>();

  constructor(target: string, options: ConnectOptions) {
    const { now = Date.now, onReceipt = () => {}, onAttested = () => {} } = options;
    this.#now = now;
    this.#maxAge = Math.min(options.maxVerdictAge ?? MAX_VERDICT_AGE_MS, MAX_VERDICT_AGE_MS);
    this.#onReceipt = onReceipt;
    this.#first.promise.catch(() => {});
    const collateral = options.collateral ?? MAKERS;
    const { newerThan, known } = options;
    const expectations = { ...demanded(options), now, collateral, newerThan, known };
    const credentials = new AttestedCredentials(expectations, options.handshakeTimeout ?? HANDSHAKE_MS, {
      attested: (attestation, peer) => {
        this.#attestations.set(peer, attestation);
        this.#latest = attestation;
        this.#holdUntil(attestation.verdict.end);
        this.#first.resolve();
        onAttested(attestation);
      },
      refused: (error) => {
        this.#latest = undefined;
        this.#first.reject(error);
      },
    });
    this.#credentials = credentials;
    this.#target = parseTarget(target);
    const { address, options: routed } = routeOf(this.#target);
    this.#make = () =>
      new GrpcChannel(address, credentials, { ...options.channelOptions, ...routed, ...FIXED_OPTIONS });
    this.#channel = this.#make();
  }

  /**
   * The attestation of the latest connection. A receipt names the connection that carried its own
   * call.
   * @throws ChannelError `closed`
   */
  get attestation(): Attestation {
    if (this.#latest === undefined) throw new ChannelError('closed', 'no connection has shown its evidence');
    return this.#latest;
  }

  /** Connects and resolves with the first verdict. @throws as {@link connect} */
  async ready(timeout: number): Promise<void> {
    this.#channel.getConnectivityState(true);
    const settled = new AbortController();
    try {
      await Promise.race([this.#first.promise, this.#unreachable(Date.now() + timeout, settled.signal)]);
    } finally {
      settled.abort();
    }
  }

  /**
   * The client of a service, of code that protoc-gen-es generated. Each answer comes with its
   * receipt.
   * @throws ChannelError `receipt` for health and reflection, whose answers have none
   */
  client<Service extends DescService>(service: Service): ServiceClient<Service> {
    return serviceClient(service, (onReceipt) => ({
      close: () => {},
      getTarget: () => this.getTarget(),
      getConnectivityState: (tryToConnect) => this.getConnectivityState(tryToConnect),
      watchConnectivityState: (...args) => this.watchConnectivityState(...args),
      getChannelzRef: () => this.getChannelzRef(),
      createCall: (...args) => this.#create(args, onReceipt),
    }));
  }

  /** Closes the channel. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  close(): void {
    clearTimeout(this.#renewal);
    this.#channel.close();
    this.#credentials.end();
  }

  getTarget(): string {
    return `dns:${targetText(this.#target)}`;
  }

  getConnectivityState(tryToConnect: boolean): connectivityState {
    return this.#channel.getConnectivityState(tryToConnect);
  }

  watchConnectivityState(...args: Parameters<Channel['watchConnectivityState']>): void {
    this.#channel.watchConnectivityState(...args);
  }

  getChannelzRef(): ReturnType<Channel['getChannelzRef']> {
    return this.#channel.getChannelzRef();
  }

  /** A call over a connection whose verdict holds when the call begins. */
  createCall(...args: Parameters<Channel['createCall']>): ReturnType<Channel['createCall']> {
    return this.#create(args, () => {});
  }

  /** @param onReceipt told of the receipt of this call, after the channel's own listener */
  #create(args: Parameters<Channel['createCall']>, onReceipt: (receipt: CheckedReceipt) => void): Call {
    if (this.#end !== undefined && this.#now() > this.#end) this.#renew();
    const [path] = args;
    const call = this.#counted(boundedCall(this.#channel.createCall(...args)));
    const told = (receipt: CheckedReceipt): void => {
      this.#onReceipt(receipt);
      onReceipt(receipt);
    };
    return receiptCall(call, path, (made) => this.#attestationOf(made), told);
  }

  /** Keeps a call among those under way until its status is there. */
  #counted(call: Call): Call {
    const { start } = call;
    const calls = this.#calls;
    call.start = (metadata, listener) => {
      calls.add(call);
      start.call(call, metadata, {
        onReceiveMetadata: (received) => listener.onReceiveMetadata(received),
        onReceiveMessage: (message) => listener.onReceiveMessage(message),
        onReceiveStatus: (ended) => {
          calls.delete(call);
          listener.onReceiveStatus(ended);
        },
      });
    };
    return call;
  }

  /** A verdict has come: it is acted on until it ends, or is too old. */
  #holdUntil(end: Verdict['end']): void {
    const now = this.#now();
    this.#end = Math.min(end === null ? Number.POSITIVE_INFINITY : Date.parse(end.notAfter), now + this.#maxAge);
    this.#arm(this.#end);
  }

  #arm(end: number): void {
    clearTimeout(this.#renewal);
    // The channel looks again then, because its clock may be another one than the timer's.
    const look = (): void => (this.#now() > end ? this.#renew() : this.#arm(end));
    this.#renewal = setTimeout(look, Math.min(Math.max(end - this.#now(), 0), this.#maxAge) + 1).unref();
  }

  /**
   * Retires the connection of a verdict that has ended. Later calls wait for a new verdict, on a
   * new connection. Calls under way get `DRAIN_MS`; then nothing more goes out over the old
   * connection.
   */
  #renew(): void {
    const [channel, calls] = [this.#channel, this.#calls];
    clearTimeout(this.#renewal);
    this.#end = undefined;
    this.#calls = new Set();
    this.#channel = this.#make();
    channel.close();
    if (calls.size === 0) return;
    setTimeout(() => {
      for (const call of calls) call.cancelWithStatus(status.UNAVAILABLE, 'the verdict of its connection has ended');
    }, DRAIN_MS).unref();
  }

  #attestationOf(call: Call): Attestation | undefined {
    const peer = call.getAuthContext()?.sslPeerCertificate;
    return peer === undefined ? undefined : this.#attestations.get(peer);
  }

  /**
   * Rejects if the first attempt failed below TLS, where grpc-js does not ask the credentials, or
   * when time is up.
   */
  async #unreachable(deadline: number, settled: AbortSignal): Promise<void> {
    for (let state = this.#channel.getConnectivityState(true); !settled.aborted; ) {
      const known = state;
      await new Promise<void>((resolve) => {
        const look = Math.min(deadline, Date.now() + LOOK_MS);
        this.#channel.watchConnectivityState(known, look, () => resolve());
      });
      state = this.#channel.getConnectivityState(false);
      if (state === connectivityState.TRANSIENT_FAILURE) {
        // grpc-js keeps the reason to itself; another attempt meets the same one.
        (await dial(this.#target, process.env, Math.max(1, deadline - Date.now()))).destroy();
        throw new ChannelError('unreachable', `no connection to ${targetText(this.#target)}${this.#through}`);
      }
      if (Date.now() >= deadline) {
        throw new ChannelError('unreachable', `no verdict from ${targetText(this.#target)}${this.#through} in time`);
      }
    }
  }

  get #through(): string {
    const proxy = proxyFor(this.#target);
    return proxy === undefined ? '' : ` through ${describeProxy(proxy)}`;
  }
}

/** References and demands of the options, whatever form they came in. */
function demanded(options: ConnectOptions): { references: References; demands: readonly Demand[] } {
  const { references, require = [], demands = [] } = options;
  const bytes = typeof references === 'string' ? utf8(references) : references;
  return {
    references: bytes instanceof Uint8Array ? parseReferences(bytes) : bytes,
    demands: [...demands, ...require.map(parseDemand)],
  };
}

/**
 * The address that grpc-js connects to, and the request that it makes to a proxy there. grpc-js's
 * own reading of the environment is off.
 */
function routeOf(target: Target): { address: string; options: ChannelOptions } {
  const authority = targetText(target);
  const direct = { 'grpc.enable_http_proxy': 0 };
  const proxy = proxyFor(target);
  if (proxy === undefined) return { address: `dns:${authority}`, options: direct };
  return {
    address: `dns:${targetText(proxy)}`,
    options: {
      ...direct,
      'grpc.default_authority': authority,
      // grpc-js's own option of its own proxy support, which it sets by the same means.
      'grpc.http_connect_target': `dns:${authority}`,
      ...(proxy.credentials !== undefined && { 'grpc.http_connect_creds': proxy.credentials }),
    } as ChannelOptions,
  };
}
