/** Appraisal: authenticated evidence against reference values and demands. */

import { accept, type Demand, type PolicyDigest } from '@enclaim/policy-schema/admission';
import { appraiseSnpLaunch } from './appraise-launch.ts';
import { appraiseTdxLaunch } from './appraise-tdx-launch.ts';
import { equalBytes, toHex } from './bytes.ts';
import { type Deployment, deviceNames, verifyDeployment } from './deployment.ts';
import type { Authenticated, HardwareOf } from './evidence/authenticated.ts';
import { launchCommandLine, PREDICTED_REGISTERS, predictPcrs, type TpmLaunch } from './measure/index.ts';
import type { ImageReference, References } from './references.ts';
import type { BootStatement } from './statement.ts';
import { appraiseLogged } from './tlog/logged.ts';
import { allPassed, type Check, compared, notRun, type Verdict } from './verdict.ts';

/**
 * Compares what was measured with what is expected, and the attested policy with what is demanded.
 * Every check that could be made is in the verdict, and every one that could not, with the reason.
 */
export async function appraise(
  authenticated: Authenticated,
  references: References,
  demands: readonly Demand[],
): Promise<Verdict> {
  const { statement } = authenticated;
  const checks = [
    ...authenticated.checks,
    ...(await appraiseHardware(authenticated, references)),
    compared('policy', statement.policy === references.policy, `${statement.policy}, expected ${references.policy}`),
    appraiseBundle(statement.bundle, references),
    appraiseConfinement(statement, references),
    appraiseOwner(statement.owner, references),
    await appraiseDeployment(authenticated, references),
    ...(await appraiseLogged(references)),
    ...appraiseDemands(authenticated, demands),
  ];
  return {
    ok: allPassed(checks),
    platform: statement.platform,
    policy: statement.policy,
    bundle: statement.bundle,
    bootId: statement.bootId,
    checks,
  };
}

async function appraiseHardware(authenticated: Authenticated, references: References): Promise<Check[]> {
  const { hardware, statement, policyBytes } = authenticated;
  const launch = { policy: references.policy as PolicyDigest, policyBytes, statement };
  switch (hardware.kind) {
    case 'tpm':
      return appraiseImage(hardware, statement, references);
    case 'snp':
      return appraiseSnpLaunch(hardware, references.snp ?? [], launch);
    case 'tdx':
      return appraiseTdxLaunch(hardware, references.tdx ?? [], launch);
  }
}

/** The registers, against the reference image that explains most of them. */
function appraiseImage(tpm: HardwareOf<'tpm'>, statement: BootStatement, { images, policy }: References): Check[] {
  const candidates = images.flatMap((image) =>
    (['kernel', 'disk'] as const).map((boot) => {
      const commandLine = tpm.commandLine === null ? null : launchCommandLine(image, policy as PolicyDigest);
      const launch: TpmLaunch = { boot, commandLine, policy: policy as PolicyDigest, bundle: statement.bundle };
      const expected = predictPcrs(image, launch);
      const equal = PREDICTED_REGISTERS.filter((index) => isEqual(tpm.registers.get(index), expected.get(index)));
      return { image, launch, expected, equal };
    }),
  );
  const [first, ...others] = candidates;
  if (first === undefined) return [compared('image', false, 'the references name no image')];
  const best = others.reduce((a, b) => (b.equal.length > a.equal.length ? b : a), first);
  const { image, launch, expected, equal } = best;
  const names = `image ${image.id}, started by ${launch.boot === 'kernel' ? '-kernel' : 'disk'}`;
  return [
    ...PREDICTED_REGISTERS.map((index) => {
      const found = tpm.registers.get(index);
      const detail = equal.includes(index)
        ? `as predicted for ${names}`
        : `${hex(found)}, expected ${hex(expected.get(index))}${explain(index, image, launch, tpm.commandLine, equal)}`;
      return compared(`register.${index}`, equal.includes(index), detail);
    }),
    appraiseFirmware(tpm),
    ...[0, 1, 2, 3, 5, 6, 7, 8, 10].map((index) => notRun(`register.${index}`, 'not compared: firmware and machine')),
  ];
}

/**
 * Firmware that measures extends each of registers 0 to 7 by at least a separator (TCG PC Client Platform Firmware
 * Profile, "EV_SEPARATOR"). One that is zero means that something else filled the registers above.
 */
function appraiseFirmware({ registers }: HardwareOf<'tpm'>): Check {
  const untouched = [0, 1, 2, 3, 4, 5, 6, 7].filter(
    (index) => registers.get(index)?.every((byte) => byte === 0) ?? true,
  );
  const detail =
    untouched.length === 0
      ? 'measured something into each of registers 0 to 7'
      : `left registers ${untouched.join(', ')} at zero`;
  return compared('firmware', untouched.length === 0, detail);
}

/** What a differing register says, where that can be told. */
function explain(
  index: number,
  image: ImageReference,
  { commandLine: expected }: TpmLaunch,
  measured: string | null,
  equal: readonly number[],
): string {
  if (index === 12 && measured !== null && expected !== null)
    return `: command line differs: expected "${expected}", measured "${measured}"`;
  if (index === 12) return ': a command line was passed where none is expected, or the other way round';
  if (index === 9 && !equal.includes(12)) return ': holds the command line too, which differs';
  if (index === 9) return ': another initrd';
  if (index === 4 && equal.includes(11)) return `: another boot manager or kernel loaded the sections of ${image.id}`;
  if (index === 11) return ': another image';
  if (index === 13) return ': system extensions or credentials were passed to the stub';
  return '';
}

function appraiseBundle(bundle: string, { bundles }: References): Check {
  if (bundles === 'any')
    return compared('bundle', true, `${bundle}; any is accepted under the policy: handlers are confined`);
  const known = bundles.some((each) => each === bundle);
  return compared('bundle', known, known ? bundle : `${bundle}, expected one of ${bundles.join(', ') || 'none'}`);
}

/** Any bundle is accepted because handlers are confined: a boot that confines them less is one that was asked for by name. */
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

/** Whether the owner vouches for this very device: another genuine one, run by somebody else, is refused here. */
async function appraiseDeployment(
  { hardware, statement, verifiedAt }: Authenticated,
  references: References,
): Promise<Check> {
  const names = deviceNames(hardware, statement);
  const device = `device ${names.join(', ') || 'without a name'}`;
  const { owner, deployments = [] } = references;
  if (owner === 'any') return notRun('deployment', `not compared: the references name no owner; ${device}`);
  const reasons: string[] = [];
  for (const signed of deployments) {
    const reason = await verifyDeployment(signed, owner).then(
      (deployment) => misfit(deployment, names, statement.policy, verifiedAt),
      (error: unknown) => (error as Error).message,
    );
    if (reason === null)
      return compared('deployment', true, `${device} is deployed until ${signed.deployment.notAfter}`);
    reasons.push(reason);
  }
  return compared('deployment', false, `${device}: ${reasons.join('; ') || 'the owner signed no deployment'}`);
}

/** Why a deployment does not speak of this boot, or null where it does. */
function misfit(
  { policy, devices, notBefore, notAfter }: Deployment,
  names: readonly string[],
  attested: string,
  now: number,
): string | null {
  if (policy !== attested) return `deployed is ${policy}`;
  if (!devices.some((name) => names.includes(name))) return 'the deployment names other devices';
  if (now < Date.parse(notBefore) || now > Date.parse(notAfter)) return `deployed from ${notBefore} to ${notAfter}`;
  return null;
}

function appraiseDemands({ policy }: Authenticated, demands: readonly Demand[]): Check[] {
  return accept(policy, demands).map(({ demand, ok, found, strength }, index) => ({
    ...compared(`demand.${index + 1}`, ok, `${demand.text}: ${found}`),
    strength,
  }));
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && equalBytes(a, b);
}

function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? 'absent' : toHex(bytes);
}
