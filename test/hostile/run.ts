/**
 * `npm run hostile [group]`: tries every attack and prints what stopped it. Fails where an attack succeeds, or where it does
 * not succeed without the layer that is said to stop it.
 */

import { abuseAttacks } from './abuse.ts';
import { type Attack, type Result, tryAttack } from './attack.ts';
import { besideAttacks } from './beside.ts';
import { budgetAttacks } from './budget.ts';
import { egressAttacks } from './egress.ts';
import { engineAttacks } from './engine-state.ts';
import { flowAttacks } from './flow.ts';
import { clockAttacks } from './host-clock.ts';
import { diskAttacks } from './host-disk.ts';
import { launchAttacks } from './host-launch.ts';
import { houseAttacks } from './house.ts';
import { languageAttacks } from './language.ts';
import { metadataAttacks } from './metadata.ts';
import { networkAttacks } from './network.ts';
import { operatorAttacks } from './operator.ts';
import { processAttacks } from './process.ts';
import { protocolAttacks } from './protocol.ts';
import { resourceAttacks } from './resources.ts';

/** Attacks that are tried at the same time. */
const AT_ONCE = 3;
/** How many of the slowest are named with `ENCLAIM_TEST_TIMES`. */
const SLOWEST = 15;

const [, , wanted] = process.argv;
const chosen = (attacks: readonly Attack[]): Attack[] =>
  attacks.filter(({ group }) => wanted === undefined || group === wanted);
const results: Result[] = [];
const took = new Map<Attack, number>();

async function tryInTurn(attacks: Iterator<Attack>): Promise<void> {
  for (let next = attacks.next(); !next.done; next = attacks.next()) {
    const began = performance.now();
    const result = await tryAttack(next.value);
    took.set(next.value, (performance.now() - began) / 1000);
    const { group, layer, name } = result.attack;
    console.log(`${result.outcome.padEnd(10)}  ${group.padEnd(16)}  ${layer.padEnd(36)}  ${name}`);
    results.push(result);
  }
}

const together = chosen([
  ...budgetAttacks,
  ...resourceAttacks,
  ...languageAttacks,
  ...engineAttacks,
  ...flowAttacks,
  ...egressAttacks,
  ...protocolAttacks,
  ...processAttacks,
  ...operatorAttacks,
]).values();
await Promise.all(Array.from({ length: AT_ONCE }, () => tryInTurn(together)));
// These change this whole process: how it reads the headers of every server, how long streams live, its clock.
await tryInTurn(
  chosen([
    ...metadataAttacks,
    ...houseAttacks,
    ...networkAttacks,
    ...abuseAttacks,
    ...besideAttacks,
    ...clockAttacks,
    ...diskAttacks,
    ...launchAttacks,
  ]).values(),
);

if (process.env.ENCLAIM_TEST_TIMES === '1') {
  const slowest = [...took].sort(([, one], [, other]) => other - one).slice(0, SLOWEST);
  for (const [{ group, name }, seconds] of slowest)
    console.log(`${seconds.toFixed(1).padStart(8)} s  ${group}  ${name}`);
}
const stopped = results.filter(({ outcome }) => outcome === 'stopped').length;
console.log(`${stopped} of ${results.length} attacks stopped at the named layer, each with its control`);
process.exit(stopped === results.length && results.length > 0 ? 0 : 1);
