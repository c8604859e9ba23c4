/** The attested channel: a grpc-js channel that shows its verdict first. */

import { appraise, type References, type Verdict, verifyEvidence } from '@enclaim/attestation';
import type { Demand } from '@enclaim/policy-schema';
import {
  type ChannelInterface as Channel,
  type ChannelOptions,
  connectivityState,
  Channel as GrpcChannel,
} from '@grpc/grpc-js';
import { AttestedCredentials } from './credentials.ts';
import { ChannelError } from './errors.ts';
import type { Attestation } from './exchange.ts';
import { type CheckedReceipt, receiptCall } from './receipt-call.ts';

/** What a channel demands of every connection it makes. */
export interface ConnectOptions {
  readonly references: References;
  readonly demands?: readonly Demand[];
  /** Milliseconds since 1970; by default this machine's clock. */
  readonly now?: () => number;
  /** Milliseconds until the first verdict must be there; by default 60 000. */
  readonly timeout?: number;
  /** Told of each receipt that was checked. */
  readonly onReceipt?: (receipt: CheckedReceipt) => void;
  readonly channelOptions?: ChannelOptions;
}

/**
 * Connects to `HOST:PORT` and resolves once a connection has shown what is demanded.
 * Pass the channel to a generated client as its `channelOverride`.
 * @throws EvidenceError, VerdictError, ChannelError; no application byte was sent then
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

/** A grpc-js channel over attested connections. Made by {@link connect}. */
export class AttestedChannel implements Channel {
  readonly #channel: GrpcChannel;
  readonly #onReceipt: (receipt: CheckedReceipt) => void;
  readonly #first = Promise.withResolvers<void>();
  #attestation: Attestation | undefined;

  constructor(
    target: string,
    { references, demands = [], now = Date.now, onReceipt = () => {}, channelOptions }: ConnectOptions,
  ) {
    this.#onReceipt = onReceipt;
    this.#first.promise.catch(() => {});
    const credentials = new AttestedCredentials(
      { references, demands, now },
      {
        attested: (attestation) => {
          this.#attestation = attestation;
          this.#first.resolve();
        },
        refused: (error) => {
          // Calls must not go on under an older verdict while a newer one says no.
          this.#attestation = undefined;
          this.#first.reject(error);
        },
      },
    );
    // One connection at a time, so that `attestation` is always that of the one in use.
    this.#channel = new GrpcChannel(target, credentials, { ...channelOptions, 'grpc.use_local_subchannel_pool': 1 });
  }

  /** The verdict of the connection in use. */
  get attestation(): Attestation {
    if (this.#attestation === undefined) throw new ChannelError('closed', 'no connection has shown its evidence');
    return this.#attestation;
  }

  /** Connects and resolves with the first verdict. @throws as {@link connect} */
  async ready(timeout: number): Promise<void> {
    this.#channel.getConnectivityState(true);
    const failed = this.#unreachable(Date.now() + timeout);
    await Promise.race([this.#first.promise, failed]);
  }

  close(): void {
    this.#channel.close();
  }

  getTarget(): string {
    return this.#channel.getTarget();
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

  createCall(...args: Parameters<Channel['createCall']>): ReturnType<Channel['createCall']> {
    const [path] = args;
    return receiptCall(this.#channel.createCall(...args), path, () => this.#attestation, this.#onReceipt);
  }

  /** Rejects when the first attempt failed below TLS, where the credentials are not asked, or when time is up. */
  async #unreachable(deadline: number): Promise<never> {
    for (let state = this.#channel.getConnectivityState(true); ; ) {
      const known = state;
      await new Promise<void>((resolve) => {
        this.#channel.watchConnectivityState(known, deadline, () => resolve());
      });
      state = this.#channel.getConnectivityState(false);
      if (state === connectivityState.TRANSIENT_FAILURE) {
        throw new ChannelError('unreachable', `no connection to ${this.getTarget()}`);
      }
      if (Date.now() >= deadline) throw new ChannelError('unreachable', `no verdict from ${this.getTarget()} in time`);
    }
  }
}

/** Verifies saved evidence, offline. The verdict says that freshness and channel were not checked. @throws EvidenceError */
export async function verifySaved(
  evidence: Uint8Array,
  { references, demands = [], now = Date.now }: Pick<ConnectOptions, 'references' | 'demands' | 'now'>,
): Promise<{ verdict: Verdict; attestation: Attestation }> {
  const context = { now: now(), channel: 'offline', activation: null } as const;
  const authenticated = await verifyEvidence(evidence, references.anchors, context);
  const verdict = appraise(authenticated, references, demands);
  const { statement, bootDigest } = authenticated;
  return { verdict, attestation: { verdict, statement, bootDigest, evidence } };
}
