/** Statuses of gRPC that a handler may end its call with. */

/**
 * Their numbers. The others are the runtime's and the clients' alone, for what they say must not be a handler's word: OK is an
 * answer; CANCELLED and DEADLINE_EXCEEDED say what the caller did; UNIMPLEMENTED that there is no such method; INTERNAL that the
 * handler or the runtime failed; DATA_LOSS that an answer has no good receipt; UNAUTHENTICATED that it is not known who calls.
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

/** The name of one. */
export type HandlerStatusCode = keyof typeof HANDLER_STATUSES;

/**
 * Characters of its text, which are 768 bytes at most and 2304 as gRPC writes them into a trailer: beside a receipt they are
 * well below the 8 KiB that clients take.
 */
export const LONGEST_STATUS_TEXT = 256;

/** What a handler ended its call with. */
export class HandlerStatus {
  readonly code: HandlerStatusCode;
  readonly text: string;

  constructor(code: HandlerStatusCode, text: string) {
    this.code = code;
    this.text = text;
  }
}
