/** PID 1 on a pretended processor: see silicon-guest.ts. */
import { pretend } from './silicon-guest.ts';

pretend('snp');
