/** The methods that a policy exposes, as the channel serves them: messages and a receipt out. */

import { type ExposedMethod, millisecondsOf } from '@enclaim/policy-schema/admission';
import type { Admission } from '../admission/admission.ts';
import type { Answer } from '../call/caller.ts';
import type { Calls } from '../call/calls.ts';
import { LIMITS } from '../limits.ts';
import { STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';
import type { RunningCalls } from './running-calls.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';

/** Answer to a call that failed with an unexpected error. */
const LOST: Answer = { status: STATUS.internal, message: 'the call failed', response: new Uint8Array() };

/** Kinds of methods whose responses are a stream. */
const STREAMED: ReadonlySet<ExposedMethod['descriptor']['methodKind']> = new Set([
  'server_streaming',
  'bidi_streaming',
]);

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
  const signal = running.begin(longest);
  call.onLeave(() => running.leave(signal));
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
  const tell = (answer: Answer): void => {
    running.end(signal);
    tellAnswer(call, method, answer);
  };
  calls.answer(method, caller).then(tell, () => tell(LOST));
}

/** Ends a call with its answer. */
function tellAnswer(call: GrpcCall, { descriptor }: ExposedMethod, answer: Answer): void {
  const { status, message, response, receipt, details } = answer;
  const streams = STREAMED.has(descriptor.methodKind);
  try {
    call.end({
      status,
      message,
      response: status === STATUS.ok && !streams ? response : undefined,
      // Names that were computed would cost 3 µs.
      trailers: {
        'enclaim-receipt-bin': receipt,
        /* layer: trailers of the runtime's own */ 'grpc-status-details-bin': details,
      },
    });
  } catch {
    // This caller can be told nothing, and its stream ends by itself. The other calls go on.
  }
}
