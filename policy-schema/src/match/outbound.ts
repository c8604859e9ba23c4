/**
 * Calls that handlers may make outside: services of subprocessors, as the .proto files describe
 * them.
 */

import { type DescExtension, type DescMethod, type DescService, getOption } from '@bufbuild/protobuf';
import { type MatchError, pointerOf } from '../error.ts';
import { http as httpOption, subprocessor as subprocessorOption } from '../gen/enclaim/handling_pb.js';
import type { MethodId, Policy } from '../policy.ts';
import { type Descriptors, methodIdOf, servicesOf } from './descriptors.ts';
import { survey } from './handling.ts';

/** A call over plain HTTP. */
export interface HttpCall {
  readonly verb: 'POST' | 'PUT';
  readonly path: string;
}

/** A method of a subprocessor. */
export interface OutboundMethod {
  /** The subprocessor's name in the policy. */
  readonly subprocessor: string;
  /** The name by which handlers call it. */
  readonly name: string;
  readonly id: MethodId;
  readonly descriptor: DescMethod;
  /** How it is called over HTTP; `none`: it is gRPC. */
  readonly http: HttpCall | 'none';
}

const HTTP_CALL = /^(POST|PUT) (\/[A-Za-z0-9/._~-]*)$/;

/**
 * The call that a text such as `POST /v1/send` names, or undefined.
 *
 * @example
 * ```ts
 * import { parseHttpCall } from '@enclaim/policy-schema/admission';
 *
 * parseHttpCall('POST /v1/send'); // { verb: 'POST', path: '/v1/send' }
 * parseHttpCall('mail.v1.Mailer/Send'); // undefined: a call of gRPC
 * ```
 */
export function parseHttpCall(text: string): HttpCall | undefined {
  const [, verb, path] = HTTP_CALL.exec(text) ?? [];
  return path === undefined ? undefined : { verb: verb as HttpCall['verb'], path };
}

/**
 * Whether a service says that it is a subprocessor's. The runtime never serves such a one, whatever
 * the policy says.
 */
export function isOutbound(service: DescService): boolean {
  return carries(service, subprocessorOption);
}

/**
 * The text that `calls` of the policy has to name before handlers may call the method.
 *
 * @example
 * ```ts
 * import { callOf } from '@enclaim/policy-schema/admission';
 *
 * callOf({ id: 'mail.v1.Mailer/Send', http: 'none' }); // mail.v1.Mailer/Send
 * callOf({ id: 'mail.v1.Mailer/Send', http: { verb: 'POST', path: '/v1/send' } }); // POST /v1/send
 * ```
 */
export function callOf({ id, http }: Pick<OutboundMethod, 'id' | 'http'>): string {
  return http === 'none' ? id : `${http.verb} ${http.path}`;
}

/**
 * Every method that handlers may be given for a subprocessor of the policy, and what is wrong with
 * those that cannot be called.
 *
 * Two kinds are left out. Services of subprocessors that the policy does not have: nothing can be
 * sent to those. Methods whose call the policy does not name: paths and verbs come with the
 * handlers, and at a shared host another path is another recipient.
 */
export function outbound(
  descriptors: Descriptors,
  policy: Policy,
): {
  readonly methods: readonly OutboundMethod[];
  readonly unnamed: readonly OutboundMethod[];
  readonly errors: readonly MatchError[];
} {
  const unnamed: OutboundMethod[] = [];
  const methods: OutboundMethod[] = [];
  const errors: MatchError[] = [];
  const taken = new Set<string>();
  for (const method of servicesOf(descriptors)
    .filter(isOutbound)
    .flatMap((service) => service.methods)) {
    const id = methodIdOf(method);
    const subprocessor = read(() => getOption(method.parent, subprocessorOption));
    if (subprocessor !== undefined && !Object.hasOwn(policy.subprocessors, subprocessor)) continue;
    const http = httpOf(method);
    const key = `${subprocessor}.${method.name}`;
    const fault =
      (subprocessor === undefined && 'has options that cannot be read') ||
      (method.methodKind !== 'unary' && 'is a stream: subprocessors are called one message at a time') ||
      (http === undefined && 'has an (enclaim.http) that is not "POST /path" or "PUT /path"') ||
      (taken.has(key) && `would be ${key}, as another method is`) ||
      ((method.name in Object.prototype || method.name === 'then') && 'has a name that objects have already') ||
      bareFieldOf(method);
    taken.add(key);
    if (subprocessor === undefined || http === undefined || fault) {
      const pointer = subprocessor === undefined ? '/subprocessors' : pointerOf(['subprocessors', subprocessor]);
      errors.push({ pointer, message: `${id} ${fault}` });
    } else {
      const found: OutboundMethod = { subprocessor, name: method.name, id, descriptor: method, http };
      // layer: calls that the policy names (off: true)
      const named = policy.subprocessors[subprocessor]?.calls.includes(callOf(found));
      (named ? methods : unnamed).push(found);
    }
  }
  return { methods, unnamed, errors };
}

function httpOf(method: DescMethod): HttpCall | 'none' | undefined {
  if (!carries(method, httpOption)) return 'none';
  const text = read(() => getOption(method, httpOption));
  return text === undefined ? undefined : parseHttpCall(text);
}

/**
 * The fault of a method that has a field without a category; undefined if it has none. An answer is
 * labelled like its request, so both need a category for every field.
 */
function bareFieldOf({ input, output }: DescMethod): string | undefined {
  const bare = read(() => [...survey(input).bare, ...survey(output).bare]);
  if (bare === undefined) return 'has messages with options that cannot be read';
  const [first] = bare;
  return first && `has a field ${first.path} that ${first.why}`;
}

function carries({ proto }: DescService | DescMethod, { number }: DescExtension): boolean {
  return (proto.options?.$unknown ?? []).some(({ no }) => no === number);
}

function read<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}
