/** Appraisal: authenticated evidence against reference values and demands. */

import { accept, type Demand, type Policy, type PolicyDigest } from '@enclaim/policy-schema/admission';
import type { Authenticated } from '../evidence/authenticated.ts';
import { earlier, type Moment } from '../moment.ts';
import { type Deployment, verifyDeployment } from '../references/deployment.ts';
import { type References, refuseMixedSimulation, refuseUnheldDeployments } from '../references/references.ts';
import { policyInForce } from '../references/rollout.ts';
import type { BootStatement } from '../statement.ts';
import { allPassed, type Check, compared, notRun, type Verdict } from '../verdict/verdict.ts';
import { appraiseAzure, appraiseEnclave, appraiseGcp } from './cloud.ts';
import { deviceNames } from './device-names.ts';
import { appraiseLogged } from './logged.ts';
import { appraiseRegisters } from './registers.ts';
import { appraiseSnpLaunch } from './snp-launch.ts';
import { appraiseStorage } from './storage.ts';
import { appraiseTdxLaunch } from './tdx-launch.ts';

/** Questions of the verifier beside those that the references answer. */
export interface AppraisalOptions {
  /**
   * Time at which the boot must have begun, or later, in milliseconds since 1970. If it is absent,
   * any time is accepted and the verdict shows it.
   */
  readonly newerThan?: number | undefined;
  /** Policies that the verifier has, for demands that compare with one (`neverWeakerThan`). */
  readonly known?: readonly Policy[] | undefined;
}

/** The last time that RFC 3339 can write, in milliseconds since 1970. */
const LAST_DATE = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/**
 * Compares the measured values with the expected ones, and the attested policy with the caller's
 * demands. The verdict holds every check that could be made, and every check that could not, with
 * the reason.
 * @throws AppraisalError `references` for deployments beside owner "any", and for simulated
 * evidence beside any other
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { appraise, parseReferences, verifyEvidence } from '@enclaim/attestation';
 * import { parseDemand } from '@enclaim/policy-schema';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const context = { now: Date.now(), channel: 'offline', activation: null } as const;
 * const evidence = await readFile('now.evidence');
 * const authenticated = await verifyEvidence(evidence, references.anchors, context);
 * const verdict = await appraise(authenticated, references, [parseDemand('claim access-logged')]);
 * for (const { id, outcome, detail } of verdict.checks) console.log(outcome, id, detail);
 * ```
 */
export async function appraise(
  authenticated: Authenticated,
  references: References,
  demands: readonly Demand[],
  { newerThan, known = [] }: AppraisalOptions = {},
): Promise<Verdict> {
  refuseUnheldDeployments(references);
  refuseMixedSimulation(references);
  const { statement, verifiedAt } = authenticated;
  let { end } = authenticated;
  const moment: Moment = { now: verifiedAt, holds: (one) => (end = earlier(end, one)) };
  const { references: accepted, check } = policyInForce(references, statement.policy, moment);
  const checks = [
    ...authenticated.checks,
    ...(await appraiseHardware(authenticated, accepted, moment)),
    check,
    appraiseBundle(statement.bundle, accepted),
    appraiseConfinement(statement, references),
    appraiseOwner(statement.owner, references),
    await appraiseDeployment(authenticated, references, moment),
    appraiseValidity(references, moment),
    appraiseStart(statement, newerThan),
    ...appraiseStorage(statement, authenticated.policy),
    ...(await appraiseLogged(references, moment)),
    ...appraiseDemands(authenticated, demands, known),
  ];
  return {
    ok: allPassed(checks),
    platform: statement.platform,
    policy: statement.policy,
    bundle: statement.bundle,
    bootId: statement.bootId,
    end: end === null ? null : { notAfter: timeText(end.at), what: end.what },
    checks,
  };
}

async function appraiseHardware(
  authenticated: Authenticated,
  references: References,
  moment: Moment,
): Promise<Check[]> {
  const { hardware, statement, policyBytes } = authenticated;
  const launch = { policy: references.policy as PolicyDigest, policyBytes, statement };
  switch (hardware.kind) {
    case 'tpm':
      return appraiseRegisters(hardware, statement, references, ['kernel', 'disk']);
    case 'snp':
      return appraiseSnpLaunch(hardware, references.snp ?? [], launch);
    case 'tdx':
      return appraiseTdxLaunch(hardware, references.tdx ?? [], launch, moment);
    case 'azure':
      return appraiseAzure(hardware, references, statement, moment);
    case 'gcp':
      return appraiseGcp(hardware, references, statement, moment);
    case 'nitro':
      return appraiseEnclave(hardware.nitro, references.nitro ?? []);
    case 'simulated':
      return [];
  }
}

function appraiseBundle(bundle: string, { bundles }: References): Check {
  if (bundles === 'any')
    return compared('bundle', true, `${bundle}; any is accepted under the policy: handlers are confined`);
  const known = bundles.some((each) => each === bundle);
  return compared('bundle', known, known ? bundle : `${bundle}, expected one of ${bundles.join(', ') || 'none'}`);
}

/**
 * Compares the missing layers of confinement with the ones that the references name.
 *
 * **Trust**: any bundle may be accepted because handlers are confined. A boot that confines them
 * less is accepted only if the references name each missing layer.
 */
function appraiseConfinement({ unconfined }: BootStatement, { unsafeUnconfined = [] }: References): Check {
  const refused = unconfined.filter((layer) => !unsafeUnconfined.includes(layer));
  const found = unconfined.length === 0 ? 'all layers' : `without ${unconfined.join(', ')}`;
  return compared('confinement', refused.length === 0, `handlers are confined by ${found}`);
}

function appraiseOwner(owner: string | null, references: References): Check {
  if (references.owner === 'any')
    return notRun('owner', `not compared: the references accept any owner; stated is ${owner ?? 'none'}`);
  return compared('owner', owner === references.owner, `${owner ?? 'none'}, expected ${references.owner}`);
}

/**
 * Whether the owner vouches for this very device. Another genuine device, run by another operator,
 * is refused here.
 */
async function appraiseDeployment(
  { hardware, statement }: Authenticated,
  references: References,
  moment: Moment,
): Promise<Check> {
  const names = deviceNames(hardware, statement);
  const device = `device ${names.join(', ') || 'without a name'}`;
  const { owner, deployments = [] } = references;
  if (owner === 'any') return notRun('deployment', `not compared: the references name no owner; ${device}`);
  const reasons: string[] = [];
  for (const signed of deployments) {
    const reason = await verifyDeployment(signed, owner).then(
      (deployment) => misfit(deployment, names, statement.policy, moment.now),
      (error: unknown) => (error as Error).message,
    );
    if (reason === null) {
      const { notAfter } = signed.deployment;
      moment.holds?.({ at: Date.parse(notAfter), what: 'deployment' });
      return compared('deployment', true, `${device} is deployed until ${notAfter}`);
    }
    reasons.push(reason);
  }
  return compared('deployment', false, `${device}: ${reasons.join('; ') || 'the owner signed no deployment'}`);
}

/** Why a deployment does not speak of this boot, or null if it does. */
function misfit(
  { policy, devices, notBefore, notAfter }: Deployment,
  names: readonly string[],
  attested: string,
  now: number,
): string | null {
  if (policy !== attested) return `deployed is ${policy}`;
  if (!devices.some((name) => names.includes(name))) return 'the deployment names other devices';
  // Written so that a clock that is not a number fails.
  const current = Date.parse(notBefore) <= now && now <= Date.parse(notAfter);
  return current ? null : `deployed from ${notBefore} to ${notAfter}`;
}

/**
 * Checks that the references still hold. They age: their values were right when they were written.
 */
function appraiseValidity({ validity }: References, { now, holds }: Moment): Check {
  if (validity === undefined) return notRun('references.validity', 'the references do not say until when they hold');
  const { notBefore, notAfter } = validity;
  // Written so that a clock that is not a number fails.
  const holding = Date.parse(notBefore) <= now && now <= Date.parse(notAfter);
  if (holding) holds?.({ at: Date.parse(notAfter), what: 'references' });
  return compared('references.validity', holding, `the references hold from ${notBefore} to ${notAfter}`);
}

/**
 * Checks when the boot began. The check's strength and detail say whose clock told it.
 *
 * Without this check, evidence of years ago would pass: it is authentic too.
 */
function appraiseStart({ started: { at, strength } }: BootStatement, newerThan: number | undefined): Check {
  const asked = newerThan === undefined ? '' : `, asked for is a start at or after ${timeText(newerThan)}`;
  const recent = newerThan === undefined || Date.parse(at) >= newerThan;
  const clock = strength === 'host' ? 'by the clock of its host' : 'by signed time';
  return {
    ...compared('boot.started', recent, `${at} ${clock}${asked}`),
    strength: strength === 'host' ? 'observed' : 'asserted',
  };
}

/** RFC 3339, UTC, milliseconds; for an end beyond all dates, the last date. */
function timeText(time: number): string {
  return new Date(Math.min(time, LAST_DATE)).toISOString();
}

function appraiseDemands({ policy }: Authenticated, demands: readonly Demand[], known: readonly Policy[]): Check[] {
  return accept(policy, demands, { known }).map(({ demand, ok, found, strength }, index) => ({
    ...compared(`demand.${index + 1}`, ok, `${demand.text}: ${found}`),
    strength,
  }));
}
