/**
 * The policy, for people: read, digested, matched with .proto files, compared, tested, and held
 * against demands.
 */

export { canonicalPolicy, decodePolicy, policyDigest } from './canonical.ts';
export { type Authorizer, type CaseResult, type PolicyCase, runCases } from './case.ts';
export { type AcceptOptions, accept, type Demand, type DemandResult, parseDemand } from './compare/demand.ts';
export { type Change, type Direction, diff, type PolicyDiff } from './compare/diff.ts';
export { formatIssue, type MatchError, PolicyError, type PolicyIssue, type PolicyIssueCode } from './error.ts';
export { type Descriptors, readDescriptors } from './match/descriptors.ts';
export { type MatchResult, match } from './match/match.ts';
export type { Policy, PolicyDigest } from './policy.ts';
export { type CheckedPolicy, checkPolicy, type ParseOptions, parsePolicy } from './read/parse.ts';
export { policyJsonSchema } from './read/schema.ts';
