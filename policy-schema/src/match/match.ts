/**
 * Methods that fit in a policy, and reasons why the rest do not. Pure and total: the same
 * everywhere it runs.
 */

import type { DescField, DescMessage, DescMethod } from '@bufbuild/protobuf';
import { type Category, covers, type Label, PUBLIC, uncovered } from '../category.ts';
import { type MatchError, PolicyError, pointerOf } from '../error.ts';
import type { Handling } from '../gen/enclaim/handling_pb.js';
import type { Declassification, MethodId, Policy, Rule } from '../policy.ts';
import {
  type Descriptors,
  findMethod,
  methodIdOf,
  type ProtoPlace,
  placeOfDeclaration,
  servicesOf,
} from './descriptors.ts';
import { handlingOf, labelOf, type Survey, survey } from './handling.ts';
import { interfaceDigest } from './interface.ts';
import { isOutbound, type OutboundMethod, outbound, parseHttpCall } from './outbound.ts';
import { type StoredMessage, storedMessages } from './stored.ts';
import { MAX_WORKER_CLASSES, type WorkerClass, workerClasses } from './worker-class.ts';

/** Why a method is withheld. */
export type ReasonCode =
  | 'no-rule' // the policy does not mention the method
  | 'undeclared' // the method declares no handling
  | 'handling' // its handling options cannot be read
  | 'uncategorised' // a field without a category
  | 'vocabulary' // a category that the policy does not have
  | 'purpose'
  | 'callers'
  | 'accepts'
  | 'returns'
  | 'reads'
  | 'stores'
  | 'sends'
  | 'interface'; // its messages are not those that the rule pins

/** One thing in which a method does not fit. */
export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
  readonly method: MethodId;
  /** Way to the field at fault, from the request or response: `patient.name.family`. */
  readonly field?: string;
  /** The part of the policy that does not cover it. */
  readonly pointer: string;
  /** Where the .proto declares it. */
  readonly proto?: ProtoPlace;
}

/** A method that fits. */
export interface ExposedMethod {
  readonly id: MethodId;
  readonly descriptor: DescMethod;
  readonly rule: Rule;
  readonly pointer: string;
  /** All that its requests can carry. */
  readonly inputs: Label;
  /** All that its responses can carry. */
  readonly outputs: Label;
}

/** A method that does not fit, for at least one reason. */
export interface WithheldMethod {
  readonly method: MethodId;
  readonly reasons: readonly Reason[];
}

/**
 * The result of matching: every method of the descriptors is exposed or withheld, unless it is a
 * subprocessor's.
 */
export interface MatchResult {
  readonly exposed: readonly ExposedMethod[];
  readonly withheld: readonly WithheldMethod[];
  readonly errors: readonly MatchError[];
  /** Methods of the policy's subprocessors, which the rules' `sends` grant. */
  readonly outbound: readonly OutboundMethod[];
  /**
   * Methods of the policy's subprocessors that `calls` does not name: no handler is given those.
   */
  readonly unnamed: readonly OutboundMethod[];
  /** Collections whose records are messages, by name. */
  readonly stored: ReadonlyMap<string, StoredMessage>;
  /** Which of the exposed methods share worker processes. */
  readonly classes: readonly WorkerClass[];
  /**
   * Rules for methods that the descriptors do not have. They are allowed, because a policy is a
   * limit and not a list.
   */
  readonly unused: readonly MethodId[];
}

/** Services that a runtime serves by itself, and that clients take without a receipt. */
const OF_THE_RUNTIME: ReadonlySet<string> = new Set([
  'enclaim.v1.Log',
  'enclaim.v1.Secrets',
  'enclaim.v1.Succession',
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]);

/**
 * Holds every method of a descriptor set against a policy. A method is exposed if a rule exists and
 * all that the method declares is within it.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { match, parsePolicy, readDescriptors } from '@enclaim/policy-schema';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * const descriptors = readDescriptors(await readFile('descriptors.binpb'));
 * const { exposed, withheld } = match(descriptors, policy);
 * console.log(exposed.map(({ id }) => id));
 * for (const { reasons } of withheld) console.log(reasons);
 * ```
 */
export function match(descriptors: Descriptors, policy: Policy): MatchResult {
  const exposed: ExposedMethod[] = [];
  const withheld: WithheldMethod[] = [];
  const served = servicesOf(descriptors).filter((service) => !isOutbound(service));
  const methods = served.flatMap((service) => service.methods);
  for (const method of methods) {
    const judged = judge(method, policy);
    if ('reasons' in judged) withheld.push(judged);
    else exposed.push(judged);
  }
  const known = new Map(methods.map((method) => [methodIdOf(method), method]));
  const ruled = Object.entries(policy.services).flatMap(([service, rules]) =>
    Object.keys(rules).map((name): MethodId => `${service}/${name}`),
  );
  const others = outbound(descriptors, policy);
  const records = storedMessages(descriptors, policy);
  const classes = workerClasses(policy, exposed, others.methods);
  return {
    exposed,
    withheld,
    errors: [
      ...Object.keys(policy.services)
        .filter((service) => OF_THE_RUNTIME.has(service))
        .map(notForApps),
      ...policy.declassify.flatMap((release, i) =>
        checkRelease(release, i, known.get(release.method), policy, descriptors),
      ),
      ...others.errors,
      ...records.errors,
      ...(classes.length > MAX_WORKER_CLASSES ? [tooManyClasses(classes.length)] : []),
    ],
    outbound: others.methods,
    unnamed: others.unnamed,
    stored: records.stored,
    classes,
    unused: ruled.filter((id) => !known.has(id)),
  };
}

/**
 * The label of a request when it comes in. If the rule pins the method's interface, it is the
 * categories of the populated fields. If not, the request also counts as all that the method
 * accepts.
 *
 * **Trust**: descriptors travel with the handlers and not with the policy, so their author could
 * call a diagnosis public.
 * @throws PolicyError as {@link labelOf}
 *
 * @example
 * ```ts
 * import type { ExposedMethod } from '@enclaim/policy-schema/admission';
 * import { requestLabel } from '@enclaim/policy-schema/admission';
 *
 * // Without a pinned interface: all that the rule accepts.
 * function labelled(method: ExposedMethod, request: Uint8Array): string[] {
 *   return [...requestLabel(method, request)];
 * }
 * console.log(labelled.name);
 * ```
 */
export function requestLabel(
  { descriptor, rule }: ExposedMethod,
  request: Uint8Array | Parameters<typeof labelOf>[1],
): Label {
  const populated = labelOf(descriptor.input, request);
  return rule.interface === 'any' ? new Set([...rule.accepts, ...populated]) : populated;
}

function judge(method: DescMethod, policy: Policy): ExposedMethod | WithheldMethod {
  const id = methodIdOf(method);
  const rule = ruleOf(policy, method);
  const pointer = pointerOf(['services', method.parent.typeName, method.name]);
  const at = { method: id, pointer, ...placed(method) };
  if (!rule) {
    return {
      method: id,
      reasons: [{ ...at, code: 'no-rule', pointer: '/services', message: `no rule for ${id} in the policy` }],
    };
  }
  try {
    const declared = handlingOf(method);
    const [input, output] = [survey(method.input), survey(method.output)];
    const reasons = [
      ...(declared
        ? misfits(declared, rule).map(
            ({ code, message }): Reason => ({
              ...at,
              code,
              pointer: `${pointer}/${code}`,
              message: `${id} ${message}`,
            }),
          )
        : [{ ...at, code: 'undeclared' as const, message: `${id} has no (enclaim.handling)` }]),
      ...overflow('accepts', input, rule.accepts, policy, at),
      ...overflow('returns', output, rule.returns, policy, at),
      ...pinned(method, rule, at),
    ];
    if (reasons.length > 0) return { method: id, reasons };
    return { id, descriptor: method, rule, pointer, inputs: input.label, outputs: output.label };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { method: id, reasons: [{ ...at, code: 'handling', message: error.message }] };
  }
}

function ruleOf(policy: Policy, method: DescMethod): Rule | undefined {
  const { typeName } = method.parent;
  const rules = Object.hasOwn(policy.services, typeName) ? policy.services[typeName] : undefined;
  return rules && Object.hasOwn(rules, method.name) ? rules[method.name] : undefined;
}

/** Misfits between a method's own declaration and its rule. */
function misfits(declared: Handling, rule: Rule): { code: ReasonCode; message: string }[] {
  const found: { code: ReasonCode; message: string }[] = [];
  if (declared.purpose !== rule.purpose) {
    found.push({ code: 'purpose', message: `is for "${declared.purpose}"; the policy permits "${rule.purpose}"` });
  }
  for (const [code, verb] of [
    ['callers', 'answers'],
    ['reads', 'reads'],
    ['stores', 'stores in'],
    ['sends', 'sends to'],
  ] as const) {
    const permitted = rule[code];
    for (const name of new Set(declared[code])) {
      if (permitted.includes(name)) continue;
      found.push({ code, message: `${verb} ${name}; the policy permits ${permitted.join(', ') || 'none'}` });
    }
  }
  return found;
}

/** Fields that carry more than is permitted, or of which no declaration says what they carry. */
function overflow(
  code: 'accepts' | 'returns',
  { carriers, bare, label }: Survey,
  permitted: readonly Category[],
  policy: Policy,
  at: Pick<Reason, 'method' | 'pointer' | 'proto'>,
): Reason[] {
  const reason = (
    path: string,
    field: DescField | undefined,
    what: Pick<Reason, 'code' | 'pointer'>,
    words: string,
  ): Reason => ({
    ...at,
    ...(field ? { field: path, ...placed(field) } : {}),
    ...what,
    message: `${at.method} ${code} ${path || 'a message'}, which ${words}`,
  });
  const reasons = bare.map(({ path, field, why }) =>
    reason(path, field, { code: 'uncategorised', pointer: at.pointer }, why),
  );
  // Most methods fit; only for one that does not is it worth going through its fields.
  const unknown = new Set(
    [...label].filter((category) => category !== PUBLIC && !Object.hasOwn(policy.data, category)),
  );
  const over = new Set(uncovered(permitted, label).filter((category) => !unknown.has(category)));
  if (unknown.size + over.size === 0) return reasons;
  const limit = permitted.join(', ') || 'none';
  for (const { path, field, categories } of carriers) {
    for (const category of categories) {
      const carries = `carries ${category}; the policy`;
      if (unknown.has(category))
        reasons.push(reason(path, field, { code: 'vocabulary', pointer: '/data' }, `${carries} has no such category`));
      if (over.has(category))
        reasons.push(reason(path, field, { code, pointer: `${at.pointer}/${code}` }, `${carries} permits ${limit}`));
    }
  }
  return reasons;
}

function pinned(
  method: DescMethod,
  { interface: pin }: Rule,
  at: Pick<Reason, 'method' | 'pointer' | 'proto'>,
): Reason[] {
  if (pin === 'any') return [];
  const found = interfaceDigest(method);
  if (found === pin) return [];
  return [
    {
      ...at,
      code: 'interface',
      pointer: `${at.pointer}/interface`,
      message: `${at.method} has the interface ${found}; the policy pins ${pin}`,
    },
  ];
}

function tooManyClasses(count: number): MatchError {
  const message = `the methods need ${count} classes of worker processes, which share nothing; at most ${MAX_WORKER_CLASSES} are run`;
  return { pointer: '/services', message };
}

function notForApps(service: string): MatchError {
  const message = `${service} is the runtime's own, whose answers carry no receipt: no policy exposes it`;
  return { pointer: pointerOf(['services', service]), message };
}

/** Errors of a release whose method exists: it has to find what it calls and what it takes. */
function checkRelease(
  release: Declassification,
  index: number,
  method: DescMethod | undefined,
  policy: Policy,
  descriptors: Descriptors,
): MatchError[] {
  if (!method) return [];
  return [...checkCall(release, index, descriptors), ...checkBuild(release, index, method, policy)];
}

/**
 * Errors of a release's gRPC call: the method must exist, and have a field for every part of the
 * message.
 */
function checkCall({ call, build }: Declassification, index: number, descriptors: Descriptors): MatchError[] {
  if (parseHttpCall(call)) return [];
  const pointer = pointerOf(['declassify', index, 'call']);
  const method = findMethod(descriptors, call);
  if (method?.methodKind !== 'unary') return [{ pointer, message: `no .proto has a unary method ${call}` }];
  const fields = new Map(method.input.fields.map((field) => [field.name, field]));
  return Object.keys(build)
    .filter((name) => fields.get(name)?.fieldKind !== 'scalar')
    .map((name) => ({ pointer, message: `${call} takes no single value ${name}` }));
}

/** A built message must find each field it takes, and may take only what its receiver may have. */
function checkBuild({ build, to }: Declassification, index: number, method: DescMethod, policy: Policy): MatchError[] {
  const receives = (Object.hasOwn(policy.subprocessors, to) ? policy.subprocessors[to]?.receives : undefined) ?? [];
  return Object.entries(build).flatMap(([name, source]): MatchError[] => {
    if (!source.startsWith('$request.')) return [];
    const pointer = pointerOf(['declassify', index, 'build', name]);
    const taken = follow(method.input, source.slice('$request.'.length).split('.'));
    if (typeof taken === 'string')
      return [{ pointer, message: `${methodIdOf(method)} takes in no ${source.slice(1)}: ${taken}` }];
    const over = [...taken].filter((category) => !covers(receives, [category]));
    return over.map((category) => ({
      pointer,
      message: `${source} carries ${category}; ${to} receives ${receives.join(', ') || 'none'}`,
    }));
  });
}

/**
 * The categories of the single value at the end of a way through singular fields, or why there is
 * none.
 */
function follow(message: DescMessage, path: readonly string[]): Label | string {
  const label = new Set<Category>();
  let at: DescMessage | undefined = message;
  for (const step of path) {
    if (!at) return `nothing is within ${step}`;
    const field: DescField | undefined = at.fields.find(({ name }) => name === step);
    if (!field) return `${at.typeName} has no field ${step}`;
    if (field.fieldKind === 'list' || field.fieldKind === 'map') return `${step} is not a single value`;
    for (const { field: of, categories } of survey(at).carriers)
      if (of === field) for (const category of categories) label.add(category);
    at = field.message;
  }
  return at ? `${path.at(-1)} is a message` : label;
}

function placed(declared: DescMethod | DescField): { proto?: ProtoPlace } {
  const proto = placeOfDeclaration(declared);
  return proto ? { proto } : {};
}
