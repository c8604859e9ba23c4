/** Claims of policies: what each kind needs, how it is held, and the controls that it answers. */

export {
  CLAIM_KINDS,
  type ClaimRule,
  coverageOf,
  STRENGTHS,
  type Standing,
  type Strength,
  strengthOf,
} from './claim.ts';
export { CONTROLS, FRAMEWORKS } from './control.ts';
