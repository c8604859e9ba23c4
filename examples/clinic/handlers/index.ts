/** The clinic's handlers: ordinary asynchronous TypeScript that sees what its method was granted and nothing else. */

/** What the runtime gives a call. Values are proto3 JSON. */
interface Context {
  /** Time the call came in, RFC 3339. */
  now(): string;
  /** An identifier that the runtime made for this call. */
  readonly requestId: string;
  readonly store: {
    readonly cases: {
      get(key: string): Promise<Case | null>;
      put(key: string, value: Case): Promise<null>;
    };
  };
  /** Where the policy has it (policy.notify.yaml): the runtime sends the message that the rule describes. */
  readonly release: { notify?(): Promise<null> };
}

/** Thrown, it ends the call with a status of gRPC. */
declare const StatusError: new (code: 'NOT_FOUND', text: string) => Error;

interface Case {
  readonly receivedAt: string;
  readonly patient?: unknown;
  readonly observations?: readonly unknown[];
}

interface SubmitRequest {
  readonly patient?: unknown;
  readonly observations?: readonly unknown[];
  readonly receiptEmail?: string;
}

interface ReadRequest {
  readonly caseId?: string;
}

/** Handlers by method. */
export const handlers: Readonly<Record<string, (request: never, ctx: Context) => Promise<unknown>>> = {
  'clinic.v1.Intake/Submit': async ({ patient, observations = [], receiptEmail }: SubmitRequest, ctx) => {
    const caseId = ctx.requestId;
    const receivedAt = ctx.now();
    await ctx.store.cases.put(caseId, { receivedAt, patient, observations });
    if (receiptEmail !== undefined) await ctx.release.notify?.();
    return { caseId, receivedAt };
  },

  'clinic.v1.Intake/Read': async ({ caseId = '' }: ReadRequest, ctx) => {
    const found = await ctx.store.cases.get(caseId);
    if (found === null) throw new StatusError('NOT_FOUND', 'no such case');
    return { caseId, ...found };
  },
};
