/** The TPM 2.0 binding. */

export { type Attester, openAttester, type Quote } from './attester.ts';
export { TpmError, type TpmErrorCode } from './error.ts';
export { TpmKeeper } from './keeper.ts';
export { NvCounter } from './nv.ts';
export { seal, unseal } from './sealing.ts';
export { Tpm } from './tpm.ts';
export { openTpmDevice, openTpmSocket, type TpmTransport } from './transport.ts';
