/** Witnesses of logs (C2SP tlog-witness), asked by a log's courier. */

export {
  type AskedWitness,
  type AskOptions,
  askWitness,
  type Cosigned,
  type CourierCheckpoint,
  MAX_WITNESS_ANSWER_BYTES,
  MAX_WITNESS_CLOCK_MS,
} from './ask.ts';
export { WitnessError, type WitnessErrorCode } from './errors.ts';
export { type Gathered, type GatherOptions, gatherCosignatures } from './gather.ts';
