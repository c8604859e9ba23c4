/** Decisions of the policy about one call, each reported before the thing decided about is done. */

import {
  ANYONE,
  type Decision,
  type DecisionCode,
  decide,
  type Label,
  type MethodId,
  type Policy,
  type Sink,
} from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { FloatingLabel } from './floating-label.ts';

/** One decision of a call. */
export interface FlowDecision {
  /** Where data would have gone, such as `store:cases` or `response`. */
  readonly sink: string;
  readonly allow: boolean;
  readonly code: DecisionCode | 'leak';
  /** The part of the policy that decided. */
  readonly pointer: string;
  /** The call's label at that point, sorted. */
  readonly label: readonly string[];
}

/** Decisions because of a missing grant, as opposed to a flow that the policy forbids. */
const GRANTS: ReadonlySet<DecisionCode> = new Set(['no-rule', 'reads', 'stores', 'sends', 'release']);

/** Messages of the caller and to the caller. No date has a part in decisions about those. */
type CallerSink = 'call' | 'response';

/** Decisions of the policy about one method's messages, by their labels. */
type Kept = Readonly<Record<CallerSink, WeakMap<Label, Decision>>>;

/**
 * **Cost**: most messages of a method have one and the same label, an object that is kept, and the
 * policy decides about it once.
 */
const KEPT: WeakMap<Policy, Map<MethodId, Kept>> = new WeakMap();

/** The parts of a call that decisions depend on. */
export interface FlowJudgeOptions {
  readonly policy: Policy;
  readonly method: MethodId;
  readonly label: FloatingLabel;
  /** Receives every decision, before the thing decided about is done. */
  readonly onDecision: (decision: FlowDecision) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Asks the policy about flows of one call, and reports what it decides. */
export class FlowJudge {
  readonly #options: FlowJudgeOptions;
  readonly #kept: Kept;

  constructor(options: FlowJudgeOptions) {
    this.#options = options;
    this.#kept = keptOf(options);
  }

  /**
   * Decides about a flow, and reports it.
   *
   * @throws RefusalError `grant`, `assurance`, `flow`
   */
  decide(sink: Sink, label: Label): void {
    const decision = this.judge(sink, label);
    const { allow, code, pointer } = decision;
    this.tell('name' in sink ? `${sink.kind}:${sink.name}` : sink.kind, allow, code, pointer);
    if (/* layer: clearance of collections */ !allow) throw refusalOf(decision);
  }

  /** Decides about a flow without a report. */
  judge(sink: Sink, label: Label): Decision {
    if (sink.kind !== 'call' && sink.kind !== 'response') return this.#judged(sink, label);
    const kept = this.#kept[sink.kind];
    let decision = kept.get(label);
    if (decision === undefined) {
      decision = this.#judged(sink, label);
      kept.set(label, decision);
    }
    return decision;
  }

  #judged(sink: Sink, label: Label): Decision {
    const { policy, method, now } = this.#options;
    // The caller was authorized before.
    return decide(
      policy,
      { identity: ANYONE, method, label, sink },
      { authorized: true, now: /* layer: date of the assurance (off: 0) */ now() },
    );
  }

  /** Reports a decision, with the call's label now. */
  tell(sink: string, allow: boolean, code: FlowDecision['code'], pointer: string): void {
    const { label, onDecision } = this.#options;
    onDecision({ sink, allow, code, pointer, label: label.names });
  }
}

function keptOf({ policy, method }: FlowJudgeOptions): Kept {
  const methods = KEPT.get(policy) ?? new Map<MethodId, Kept>();
  const kept = methods.get(method) ?? { call: new WeakMap(), response: new WeakMap() };
  KEPT.set(policy, methods.set(method, kept));
  return kept;
}

/** The refusal that a decision is. */
export function refusalOf({ code, reason, pointer }: Decision): RefusalError {
  return new RefusalError(codeOf(code), reason, { pointer });
}

function codeOf(code: DecisionCode): 'assurance' | 'flow' | 'grant' {
  if (code === 'assurance') return code;
  return GRANTS.has(code) ? 'grant' : 'flow';
}
