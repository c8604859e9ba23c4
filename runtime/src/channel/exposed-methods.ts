/** The methods that a policy exposes, as the channel serves them: messages and a receipt out. */

import { RECEIPT_TRAILER } from '@enclaim/attestation/receipt';
import { type ExposedMethod, millisecondsOf } from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { Answer } from '../call/caller.ts';
import type { Calls } from '../call/calls.ts';
import { STATUS_DETAILS } from '../call/status-details.ts';
import { LIMITS } from '../limits.ts';
import { STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';
import type { RunningCalls } from './running-calls.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';

/** Answer to a call that failed with an unexpected error. */
const LOST: Answer = { status: STATUS.internal, message: 'the call failed', response: new Uint8Array() };

/** Every exposed method, with its path. */
export function exposedMethods(
  admission: Admission,
  calls: Pick<Calls, 'answer'>,
  running: RunningCalls,
): (readonly [string, ServedMethod])[] {
  return admission.exposed.map((method) => {
    const longest = longestOf(admission, method);
    return servedMethod(method.descriptor, (call) => serve(call, method, { calls, running, longest }));
  });
}

/** Milliseconds that a call may last, by the policy if it has a limit. */
export function longestOf({ policy }: Admission, { id }: ExposedMethod): number {
  const { resources } = policy.governance;
  if (resources === 'none') return LIMITS.call;
  const own = Object.hasOwn(resources.methods, id) ? resources.methods[id] : undefined;
  // The governor ends the call at its wall time and names the policy's rule. The addition covers
  // what comes before and after.
  return Math.min(LIMITS.callOfPolicy, millisecondsOf((own ?? resources).wall) + LIMITS.call);
}

/** The parts that calls of one method need. */
interface Serving {
  readonly calls: Pick<Calls, 'answer'>;
  readonly running: RunningCalls;
  /** Milliseconds that a call may last. */
  readonly longest: number;
}

function serve(call: GrpcCall, method: ExposedMethod, { calls, running, longest }: Serving): void {
  const over = running.begin();
  const { signal } = over;
  const timer = setTimeout(() => /* layer: life of a call (off: over) */ over.abort(), longest);
  call.onLeave(() => running.leave(over));
  const { number: connection, isAttested: attested } = call.connection;
  const caller = {
    // layer: messages unfold when they are asked for
    // layer: messages only
    next: () => call.next(),
    send: (message: Uint8Array) => call.send(message, signal),
    signal,
    connection,
    attested,
    nonce: call.nonce,
  };
  const { methodKind } = method.descriptor;
  const streamsResponse = methodKind === 'server_streaming' || methodKind === 'bidi_streaming';
  void calls
    .answer(method, caller)
    .catch(() => LOST)
    .then(({ status, message, response, receipt, details }) => {
      clearTimeout(timer);
      running.end(over);
      const hasResponse = status === STATUS.ok && !streamsResponse;
      call.end({
        ...{
          status,
          message,
          trailers: {
            [RECEIPT_TRAILER]: receipt,
            /* layer: trailers of the runtime's own */ [STATUS_DETAILS]: details,
          },
        },
        ...(hasResponse && { response }),
      });
    })
    // This caller can be told nothing, and its stream ends by itself. The other calls go on.
    .catch(() => {});
}
