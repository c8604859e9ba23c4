/** AWS Nitro Enclaves. */

export { type NitroDocument, parseNitroDocument } from './document.ts';
export { type AuthenticatedNitro, appraiseNitro, NITRO_CAREFUL, type NitroDemands, verifyNitro } from './verify.ts';
