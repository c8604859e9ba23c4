/** Part of the realm: the errors by which a handler ends its call with a status. */

/** A status that a handler chose: the name of a code of gRPC, and a text. */
export interface Status {
  readonly code: string;
  readonly text: string;
}

/** The class that handlers know as `StatusError`, and its reader. */
export interface Statuses {
  readonly StatusError: unknown;
  /** The status of an error that was made by the class, undefined for anything else. */
  readonly statusOf: (error: unknown) => Status | undefined;
}

/**
 * The class of errors by which a handler ends its call with a status, and the function that reads
 * them. Only its constructor can set the private field that marks such an error. An object that
 * merely looks like one, such as a library's error, is therefore not taken for one.
 */
export function statuses(): Statuses {
  const codes = [
    ...['UNKNOWN', 'INVALID_ARGUMENT', 'NOT_FOUND', 'ALREADY_EXISTS', 'PERMISSION_DENIED'],
    ...['RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNAVAILABLE'],
  ];
  const longest = 256;
  let read: (error: object) => Status | undefined = () => undefined;
  class StatusError extends Error {
    static {
      read = (error) => (#status in error ? error.#status : undefined);
    }
    override readonly name = 'StatusError';
    readonly code: string;
    readonly #status: Status;
    constructor(code: string, text = '') {
      if (!codes.includes(code)) throw new TypeError(`no status that a handler may end with: ${String(code)}`);
      if (typeof text !== 'string' || text.length > longest || !text.isWellFormed())
        throw new TypeError(`the text of a status is well-formed and has at most ${longest} characters`);
      super(text);
      this.code = code;
      this.#status = { code, text };
    }
  }
  const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
  return { StatusError, statusOf: (error) => (isObject(error) ? read(error) : undefined) };
}
