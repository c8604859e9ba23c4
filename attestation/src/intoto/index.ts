/** in-toto: signed statements about artefacts. */

export { type Envelope, openEnvelope, parseEnvelope, STATEMENT_TYPE, signEnvelope } from './envelope.ts';
export {
  parseVerification,
  RESULT,
  STATEMENT,
  type Subject,
  type VerificationResult,
  type VerificationStatement,
} from './statement.ts';
