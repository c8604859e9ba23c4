/** Names that a deployment knows a device by, as its evidence proves them. */

import { toHex } from '../bytes.ts';
import { digestText, sha256 } from '../digest.ts';
import type { Hardware } from '../evidence/authenticated.ts';
import type { DeviceName } from '../references/deployment.ts';
import type { BootStatement } from '../statement.ts';

/**
 * The names that a device's evidence proves. An endorsement key that was not activated is a claim
 * of the peer, not a name.
 */
export function deviceNames(hardware: Hardware, { device: stated }: BootStatement): DeviceName[] {
  switch (hardware.kind) {
    case 'tpm': {
      const { attestationKey, trust } = hardware;
      const ek = trust.kind === 'activated' && stated.ek !== null ? [`ek:${stated.ek}` as const] : [];
      return [`ak:${attestationKey}`, ...ek];
    }
    case 'snp': {
      const { chipId } = hardware.snp.report;
      return chipId.every((byte) => byte === 0) ? [] : [`chip:${toHex(chipId)}`];
    }
    case 'azure':
      return [`ak:${hardware.vtpm.attestationKey}`];
    case 'gcp': {
      const { projectNumber, instanceId } = hardware.instance;
      return [`ak:${hardware.vtpm.attestationKey}`, `gce:${projectNumber}/${instanceId}`];
    }
    case 'nitro': {
      const [instance] = /^i-[0-9a-f]{8,32}(?=-enc[0-9a-f]+$)/.exec(hardware.nitro.document.moduleId) ?? [];
      return instance === undefined ? [] : [`nitro:${instance}`];
    }
    case 'simulated':
      return [];
    case 'tdx':
      return [`pck:${digestText('sha256', sha256(hardware.tdx.chain.leaf.spki))}`];
  }
}
