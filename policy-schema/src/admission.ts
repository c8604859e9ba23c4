/**
 * The entry point for code inside the VM: no YAML, and nothing that is made for people at a desk.
 */

export { canonicalPolicy, decodePolicy, digestOfCanonical, policyDigest } from './canonical.ts';
export { type Categories, type Category, covers, type Label, overlaps, PUBLIC, uncovered } from './category.ts';
export { isAttestedOnly } from './claim.ts';
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
export { type Circumstances, type Decision, type DecisionCode, decide, type Flow, type Sink } from './decide.ts';
export { type MatchError, PolicyError, type PolicyIssue, type PolicyIssueCode } from './error.ts';
export { canonicalJson, parseJson } from './json.ts';
export {
  type Descriptors,
  findMethod,
  methodIdOf,
  type ProtoPlace,
  readDescriptors,
  registryOf,
  servicesOf,
} from './match/descriptors.ts';
export { labelOf, MAX_MESSAGE_DEPTH, type Plan, planOf, survey } from './match/handling.ts';
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
export type { IndexedField, StoredMessage } from './match/stored.ts';
export type { WorkerClass } from './match/worker-class.ts';
export { ExactJson } from './message-json.ts';
export type {
  Access,
  Assurance,
  Budget,
  CertificateCredential,
  Claim,
  ClaimKind,
  Collection,
  Credential,
  DataCategory,
  Declassification,
  EvidenceRules,
  Governance,
  HeaderCredential,
  Identity,
  KeptMachines,
  Leaks,
  MethodId,
  Oidc,
  Override,
  PeerIdentity,
  PeerKeeper,
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
export { ANYONE } from './policy.ts';
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
export { type ClaimIds, controlsOf, type MethodClaims, type ServedClaims, servedClaims } from './served.ts';
