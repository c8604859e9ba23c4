/** A call whose response counts only with its receipt. */

import { toHex } from '@enclaim/attestation/bytes';
import { NONCE_FIELD } from '@enclaim/attestation/grpc-request';
import { Log } from '@enclaim/attestation/log-service';
import {
  type ComparedMessages,
  checkReceiptMessages,
  RECEIPT_TRAILER,
  type ReceiptBody,
  verifyReceipt,
} from '@enclaim/attestation/receipt';
import { Secrets } from '@enclaim/attestation/secrets';
import { SuccessionDescriptor } from '@enclaim/attestation/succession';
import type { ChannelInterface as Channel } from '@grpc/grpc-js';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import type { Attestation } from './attestation.ts';
import { ChannelError } from './errors.ts';

export type Call = ReturnType<Channel['createCall']>;
type Listener = Parameters<Call['start']>[1];

/** A receipt that was checked, with what it is needed for later. */
export interface CheckedReceipt {
  readonly body: ReceiptBody;
  /** The messages of the call that the receipt speaks of. */
  readonly messages: ComparedMessages;
  /** The `enclaim.v1.Receipt` message. */
  readonly bytes: Uint8Array;
  /** Messages sent and received, and the text of the status. */
  readonly call: {
    readonly request: readonly Uint8Array[];
    readonly response: readonly Uint8Array[];
    readonly text: string;
  };
  /** The attestation of the connection that carried the response. */
  readonly attestation: Attestation;
}

/** Bytes of one call's messages that are kept until its receipt speaks of them. */
const MAX_HELD_BYTES = 64 * 1024 * 1024;
const NONCE_BYTES = 16;
/** Cost of a message beside its bytes: even an empty one is an object that is kept. */
const MESSAGE_COST = 256;

/**
 * Statuses that only handlers give, and the runtime never does by itself: a handler's answer has a
 * receipt. Statuses that both give are told apart by the receipt, which says `allow` for a
 * handler's.
 */
const OF_HANDLERS: ReadonlySet<status> = new Set([
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.ABORTED,
  status.OUT_OF_RANGE,
]);

/**
 * Methods of the runtime itself. Their answers are not the operator's, and carry no receipt. No
 * policy exposes another service under these names.
 */
const UNRECEIPTED: ReadonlySet<string> = new Set([
  ...[Log, Secrets, SuccessionDescriptor].flatMap(({ methods, typeName }) =>
    methods.map(({ name }) => `/${typeName}/${name}`),
  ),
  '/grpc.health.v1.Health/Check',
  '/grpc.health.v1.Health/List',
  '/grpc.health.v1.Health/Watch',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
]);

/**
 * Wraps a call. Messages pass through. A status of OK, or one that only handlers give, passes only
 * with a receipt that speaks of exactly these messages, of the request as far as it was taken.
 * Otherwise it turns into DATA_LOSS.
 */
export function receiptCall(
  call: Call,
  path: string,
  attestationOf: (call: Call) => Attestation | undefined,
  onReceipt: (receipt: CheckedReceipt) => void,
): Call {
  if (UNRECEIPTED.has(path)) return call;
  const request: Buffer[] = [];
  const response: Buffer[] = [];
  let nonce = '';
  let held = 0;
  const hold = (messages: Buffer[], message: Buffer): void => {
    held += message.length + MESSAGE_COST;
    if (held <= MAX_HELD_BYTES) messages.push(message);
    else call.cancelWithStatus(status.RESOURCE_EXHAUSTED, `a call of more than ${MAX_HELD_BYTES} bytes`);
  };
  const { start, sendMessageWithContext } = call;
  call.sendMessageWithContext = (context, message) => {
    hold(request, message);
    sendMessageWithContext.call(call, context, message);
  };
  call.start = (metadata, listener) => {
    const checking: Listener = {
      onReceiveMetadata: (received) => listener.onReceiveMetadata(received),
      onReceiveMessage: (message: Buffer) => {
        hold(response, message);
        listener.onReceiveMessage(message);
      },
      onReceiveStatus: (ended) => {
        void checkedStatus(ended).then((checked) => listener.onReceiveStatus(checked));
      },
    };
    const sent = metadata.clone();
    nonce = ownNonce(sent);
    start.call(call, sent, checking);
  };
  return call;

  async function checkedStatus(ended: StatusObject): Promise<StatusObject> {
    const [bytes] = ended.metadata.get(RECEIPT_TRAILER);
    // A refusal carries no data, so a receipt has nothing to vouch for. The runtime gives one all
    // the same, unless it only counts the refusal.
    if (bytes === undefined && ended.code !== status.OK && !OF_HANDLERS.has(ended.code)) return ended;
    try {
      const attestation = attestationOf(call);
      if (attestation === undefined) throw new ChannelError('receipt', 'the response came over no attested connection');
      if (!(bytes instanceof Uint8Array)) throw new ChannelError('receipt', 'the response has no receipt');
      const receipt = await verifyReceipt(bytes, attestation);
      const said = { method: path.slice(1), request, response, status: ended.code, text: ended.details };
      // A boot that states no log key is of a runtime that knew no nonces.
      const seen = attestation.statement.version === 2 ? said : { ...said, nonce };
      const messages = checkReceiptMessages(receipt, seen);
      onReceipt({ body: receipt.body, messages, bytes, call: { request, response, text: ended.details }, attestation });
      return ended;
    } catch (error) {
      return {
        code: status.DATA_LOSS,
        details: `receipt refused: ${(error as Error).message}`,
        metadata: new Metadata(),
      };
    }
  }
}

/**
 * The nonce that a call leaves with, hex: the program's own if it set one, else a fresh one.
 *
 * Without a nonce, an equal call's earlier receipt would be taken for this one's.
 */
function ownNonce(metadata: Metadata): string {
  const [own] = metadata.get(NONCE_FIELD);
  if (own !== undefined) return toHex(Buffer.from(own));
  const fresh = Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  metadata.set(NONCE_FIELD, fresh);
  return toHex(fresh);
}
