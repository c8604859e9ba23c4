/** Statuses of gRPC that a handler may end its call with. */

/**
 * Numbers of the statuses that a handler may choose. The remaining statuses belong to the runtime
 * and the clients, because a handler must not be able to claim what they say. OK is an answer.
 * CANCELLED and DEADLINE_EXCEEDED say what the caller did. UNIMPLEMENTED says that there is no such
 * method. INTERNAL says that the handler or the runtime failed. DATA_LOSS says that an answer has
 * no good receipt. UNAUTHENTICATED says that the caller is not known.
 */
export const HANDLER_STATUSES = {
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNAVAILABLE: 14,
} as const;

/** The name of a status that a handler may choose. */
export type HandlerStatusCode = keyof typeof HANDLER_STATUSES;

/**
 * Characters of a status text: at most 768 bytes, and 2304 as gRPC writes them into a trailer.
 * Beside a receipt they are well below the 8 KiB that clients take.
 */
export const MAX_STATUS_TEXT_CHARS = 256;

/** The status with which a handler ended its call. */
export class HandlerStatus {
  readonly code: HandlerStatusCode;
  readonly text: string;

  constructor(code: HandlerStatusCode, text: string) {
    this.code = code;
    this.text = text;
  }
}
