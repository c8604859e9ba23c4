/**
 * The policy: its grammar, canonical form and digest, what fits in it, how two compare, and what
 * clients demand.
 */

export { canonicalPolicy, decodePolicy, digestOfCanonical, policyDigest } from './canonical.ts';
export { type Authorizer, type CaseResult, type PolicyCase, runCases } from './case.ts';
export { type Categories, type Category, covers, type Label, overlaps, PUBLIC, uncovered } from './category.ts';
export {
  CLAIM_KINDS,
  type ClaimRule,
  coverageOf,
  isAttestedOnly,
  STRENGTHS,
  type Standing,
  type Strength,
  strengthOf,
} from './claim.ts';
export {
  type AcceptOptions,
  accept,
  type BudgetDemand,
  type CountDemand,
  type Demand,
  type DemandResult,
  type PeriodDemand,
  parseDemand,
  type SetDemand,
} from './compare/demand.ts';
export { type Change, type Direction, diff, type PolicyDiff } from './compare/diff.ts';
export { CONTROLS, FRAMEWORKS } from './control.ts';
export { type Circumstances, type Decision, type DecisionCode, decide, type Flow, type Sink } from './decide.ts';
export {
  formatIssue,
  MAX_ISSUES,
  type MatchError,
  PolicyError,
  type PolicyIssue,
  type PolicyIssueCode,
} from './error.ts';
export { canonicalJson, parseJson } from './json.ts';
export { type Descriptors, methodIdOf, type ProtoPlace, readDescriptors, servicesOf } from './match/descriptors.ts';
export { labelOf } from './match/handling.ts';
export { interfaceDigest } from './match/interface.ts';
export {
  type ExposedMethod,
  type MatchResult,
  match,
  type Reason,
  type ReasonCode,
  requestLabel,
  type WithheldMethod,
} from './match/match.ts';
export { callOf, type HttpCall, type OutboundMethod, parseHttpCall } from './match/outbound.ts';
export {
  MAX_WORKER_CLASSES,
  type Obstacle,
  obstacle,
  type RuledMethod,
  type WorkerClass,
  workerClasses,
} from './match/worker-class.ts';
export { ExactJson } from './message-json.ts';
export type {
  Access,
  Assurance,
  Budget,
  Claim,
  ClaimKind,
  Collection,
  DataCategory,
  Declassification,
  EvidenceRules,
  Governance,
  Identity,
  Leaks,
  MethodId,
  Oidc,
  Override,
  PeerIdentity,
  Policy,
  PolicyDigest,
  Residency,
  Resources,
  Review,
  Rule,
  Sovereignty,
  Subprocessor,
  Succession,
  System,
  Witness,
} from './policy.ts';
export {
  bytesOf,
  type Day,
  type Duration,
  endOf,
  isDay,
  millisecondsOf,
  quotedWithin,
  type Size,
  secondsOf,
  type Time,
} from './quantity.ts';
export { type CheckedPolicy, checkPolicy, type ParseOptions, parsePolicy } from './read/parse.ts';
export type { Reading } from './read/reading.ts';
export { policyJsonSchema, SCHEMA_FILE } from './read/schema.ts';
export { readSource, type Source } from './read/source.ts';
export { suggestion } from './read/suggestion.ts';
export { type ClaimIds, controlsOf, type MethodClaims, type ServedClaims, servedClaims } from './served.ts';
