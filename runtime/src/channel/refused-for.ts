/** Ends of calls that a service of the runtime itself refuses. */

import { STATUS_DETAILS, statusDetails } from '../call/status-details.ts';
import type { CallEnd } from './grpc-call.ts';

/** The end of a refused call, with `google.rpc.ErrorInfo`. @param code becomes its reason */
export function refusedFor(code: string, status: number, message: string): CallEnd {
  const reason = code.toUpperCase().replaceAll('-', '_');
  return { status, message, trailers: { [STATUS_DETAILS]: statusDetails(status, message, { reason, metadata: {} }) } };
}
