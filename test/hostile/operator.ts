/** Attacks of an operator: a policy that claims what it hardly holds, and descriptors that say other than what was reviewed. */

import { create, toBinary } from '@bufbuild/protobuf';
import { AnySchema, anyPack } from '@bufbuild/protobuf/wkt';
import { type Descriptors, type Policy, parsePolicy } from '@enclaim/policy-schema';
import { servicesOf } from '@enclaim/policy-schema/admission';
import { labelOf } from '../../policy-schema/src/match/handling.ts';
import { interfaceDigest } from '../../policy-schema/src/match/interface.ts';
import { outbound } from '../../policy-schema/src/match/outbound.ts';
import { findIncoherences } from '../../policy-schema/src/read/coherence.ts';
import { BASE } from '../../policy-schema/test/base-policy.ts';
import { compileFiles } from '../../policy-schema/test/compile.ts';
import type { Attack } from './attack.ts';
import { type Weakness, weakened } from './weakened.ts';

const INTERFACE = 'policy-schema/src/match/interface.ts';
const HANDLING = 'policy-schema/src/match/handling.ts';
const OUTBOUND = 'policy-schema/src/match/outbound.ts';

interface HollowClaim {
  /** The claim as it is, and as little as the operator would like it to be. */
  readonly edit: readonly [what: string, instead: string];
  /** What is lacking then, taken out of the rules of claims. */
  readonly weakness: Weakness;
}

const HOLLOW: Readonly<Record<string, HollowClaim>> = {
  'claim that nothing leaks, and look in the log alone': {
    edit: ['on: [egress, response, log]', 'on: [log]'],
    weakness: { off: ['surfaces that are looked at'] },
  },
  'claim that nothing leaks, and look for addresses alone': {
    edit: ['detectors: [email, iban, payment-card, credential]', 'detectors: [email]'],
    weakness: { off: ['detectors of every pattern'] },
  },
  'claim to be local by a score of nothing': {
    edit: ['minScore: 80', 'minScore: 0'],
    weakness: { constants: { 'LEAST.minScore': 0 } },
  },
  'claim to be local with a thousand calls': {
    edit: ['maxExternalCalls: 1', 'maxExternalCalls: 1000'],
    weakness: { constants: { 'LEAST.externalCalls': 1000 } },
  },
  'claim bounds of a million minutes': {
    edit: ['cpu: 500ms, wall: 5s', 'cpu: 1000000min, wall: 1000000min'],
    weakness: { constants: { 'LEAST.cpu': '1000000min', 'LEAST.wall': '1000000min' } },
  },
  'claim deletion after a century': {
    edit: ['holds: [personal.health], retention: P30D', 'holds: [personal.health], retention: P100Y'],
    weakness: { constants: { 'LEAST.retention': 'P100Y' } },
  },
  'claim a log that is reviewed once in a lifetime': {
    edit: ['every: P30D', 'every: P80Y'],
    weakness: { constants: { 'LEAST.reviewEvery': 'P80Y' } },
  },
  'claim authorised access, and permit all to all': {
    edit: ['permit(principal is staff, action, resource);', 'permit(principal, action, resource);'],
    weakness: { off: ['access tells callers apart'] },
  },
};

/** What the base policy says, edited as an object: its own parser would stop it before the rules of claims are asked. */
function edited([what, instead]: HollowClaim['edit']): Policy {
  if (!BASE.includes(what)) throw new Error(`the policy has no ${what}`);
  const claimless = BASE.replace(what, instead).replace(/claims:\n(?: {2}-.*\n)+/, '');
  return { ...parsePolicy(claimless), claims: parsePolicy(BASE).claims };
}

/** Whether the claim stands all the same. */
function stands(find: typeof findIncoherences, { edit }: HollowClaim): boolean {
  return !find(edited(edit)).some(({ code }) => code === 'unbacked');
}

const hollowClaims = Object.entries(HOLLOW).map(
  ([name, claim]): Attack => ({
    group: 'operator',
    name,
    layer: 'the least that backs a claim',
    attempt: async () => stands(findIncoherences, claim),
    control: async () => {
      const weak = await import(weakened('policy-schema/src/read/coherence.ts', claim.weakness));
      return stands(weak.findIncoherences, claim);
    },
  }),
);

const compiled = (text: string): Promise<Descriptors> =>
  compileFiles({
    't.proto': `syntax = "proto3"; package t; import "enclaim/handling.proto"; import "google/protobuf/any.proto"; ${text}`,
  });

/** The interface of one method with these fields, as a policy pins it. */
async function pinOf(digest: typeof interfaceDigest, fields: string): Promise<string> {
  const [service] = servicesOf(await compiled(`message M { ${fields} } service S { rpc Do(M) returns (M) {} }`));
  const [method] = service?.methods ?? [];
  if (method === undefined) throw new Error('no method was compiled');
  return digest(method);
}

const [A, B] = ['(enclaim.data) = "a"', '(enclaim.data) = "b"'];

const PINS: Readonly<Record<string, { readonly reviewed: string; readonly built: string; readonly layer: string }>> = {
  'change two json_names for one another under one pin': {
    reviewed: `string x = 1 [${A}, json_name = "c"]; string y = 2 [${B}, json_name = "d"];`,
    built: `string x = 1 [${A}, json_name = "d"]; string y = 2 [${B}, json_name = "c"];`,
    layer: 'pin of JSON names',
  },
  'make two optional fields one or the other under one pin': {
    reviewed: `optional string x = 1 [${A}]; optional string y = 2 [${B}];`,
    built: `oneof none { string x = 1 [${A}]; string y = 2 [${B}]; }`,
    layer: 'pin of oneofs',
  },
};

const pins = Object.entries(PINS).map(([name, { reviewed, built, layer }]): Attack => {
  const passes = async (digest: typeof interfaceDigest): Promise<boolean> =>
    (await pinOf(digest, reviewed)) === (await pinOf(digest, built));
  return {
    group: 'operator',
    name,
    layer,
    attempt: () => passes(interfaceDigest),
    control: async () => passes((await import(weakened(INTERFACE, { off: [layer] }))).interfaceDigest),
  };
});

const HIDDEN = `message Secret { string health = 1 [(enclaim.data) = "personal.health"]; }
  message Holder { google.protobuf.Any any = 1 [(enclaim.data) = "operational"]; }`;

/** Whether a message with health in its Any is labelled as if it had none. */
async function hides(label: typeof labelOf): Promise<boolean> {
  const { registry } = await compiled(HIDDEN);
  const [secret, holder] = [registry.getMessage('t.Secret'), registry.getMessage('t.Holder')];
  if (secret === undefined || holder === undefined) throw new Error('no messages were compiled');
  const any = toBinary(AnySchema, anyPack(secret, create(secret, { health: 'high fever' } as never)));
  const message = Uint8Array.of(0x0a, any.length, ...any);
  return !label(holder, message).has('personal.health');
}

const SHARED_HOST = parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { d: { description: x } }
subprocessors: { mailer: { address: https://mail.example, identity: { ca: system }, region: r, receives: [d], calls: [
  POST /our-tenant/send ] } }
`);

/** Whether a bundle gets a path at the subprocessor's host that the policy does not name. */
async function reaches(find: typeof outbound): Promise<boolean> {
  const descriptors = await compiled(`message M { string a = 1 [(enclaim.data) = "d"]; }
    service Mail { option (enclaim.subprocessor) = "mailer";
      rpc Send(M) returns (M) { option (enclaim.http) = "POST /another-tenant/send"; } }`);
  return find(descriptors, SHARED_HOST).methods.length > 0;
}

/** Every attack of an operator on what a policy promises. */
export const operatorAttacks: readonly Attack[] = [
  ...hollowClaims,
  ...pins,
  {
    group: 'operator',
    name: 'carry health in an Any whose field says operational',
    layer: 'label of what an Any holds',
    attempt: () => hides(labelOf),
    control: async () => {
      const handling = await import(weakened(HANDLING, { off: ['label of what an Any holds'] }));
      return hides(handling.labelOf);
    },
  },
  {
    group: 'operator',
    name: 'send to another tenant of the same host',
    layer: 'calls that the policy names',
    attempt: () => reaches(outbound),
    control: async () => {
      const off = ['calls that the policy names'];
      return reaches((await import(weakened(OUTBOUND, { off }))).outbound);
    },
  },
];
