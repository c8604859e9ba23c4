/** A call whose metadata cannot harm the other calls of its connection. */

import { carried } from './metadata.ts';
import type { Call } from './receipt-call.ts';

/**
 * Wraps a call. Metadata that the call's connection could not carry ends this call with a status
 * text, before the call begins. Without this, grpc-js would give up the connection, with all calls
 * on it.
 */
export function boundedCall(call: Call): Call {
  const { start } = call;
  call.start = (metadata, listener) => {
    const made = carried(metadata);
    if (!('code' in made)) {
      start.call(call, made, listener);
      return;
    }
    // The call never begins, so what the caller does with it goes nowhere.
    call.startRead = call.halfClose = call.sendMessageWithContext = call.cancelWithStatus = () => {};
    queueMicrotask(() => listener.onReceiveStatus(made));
  };
  return call;
}
