/**
 * `npm run hostile [group]`: tries every attack and prints what stopped it. Fails where an attack succeeds, or where it does
 * not succeed without the layer that is said to stop it.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { abuseAttacks } from './abuse.ts';
import { type Attack, type Result, tryAttack } from './attack.ts';
import { besideAttacks } from './beside.ts';
import { budgetAttacks } from './budget.ts';
import { certificateAttacks } from './certificates.ts';
import { deletionAttacks } from './deletion.ts';
import { egressAttacks } from './egress.ts';
import { engineAttacks } from './engine-state.ts';
import { flowAttacks } from './flow.ts';
import { clockAttacks } from './host-clock.ts';
import { diskAttacks } from './host-disk.ts';
import { launchAttacks } from './host-launch.ts';
import { quoteAttacks } from './host-quotes.ts';
import { stateAttacks } from './host-state.ts';
import { houseAttacks } from './house.ts';
import { keeperAttacks } from './keeper.ts';
import { languageAttacks } from './language.ts';
import { logAttacks } from './log.ts';
import { metadataAttacks } from './metadata.ts';
import { networkAttacks } from './network.ts';
import { operatorAttacks } from './operator.ts';
import { processAttacks } from './process.ts';
import { proofAttacks } from './proof.ts';
import { protocolAttacks } from './protocol.ts';
import { resourceAttacks } from './resources.ts';
import { secretAttacks } from './secrets.ts';
import { backupAttacks } from './state-file.ts';
import { successionAttacks } from './succession.ts';
import { allMarks, marksTurnedOff } from './weakened.ts';
import { witnessAttacks } from './witness.ts';

/** Attacks that are tried at the same time. */
const AT_ONCE = 3;
/** How many of the slowest are named with `ENCLAIM_TEST_TIMES`. */
const SLOWEST = 15;

/** Tells this program, in a process that it starts, to try those that change their whole process. */
const ALONE = '--alone';

const [, , wanted] = process.argv;
const chosen = (attacks: readonly Attack[]): Attack[] =>
  attacks.filter(({ group }) => wanted === undefined || wanted === ALONE || group === wanted);
const together = chosen([
  ...budgetAttacks,
  ...resourceAttacks,
  ...languageAttacks,
  ...engineAttacks,
  ...flowAttacks,
  ...egressAttacks,
  ...protocolAttacks,
  ...proofAttacks,
  ...witnessAttacks,
  ...processAttacks,
  ...stateAttacks,
  ...deletionAttacks,
  ...certificateAttacks,
  ...operatorAttacks,
]);
/** One after another: these fill a whole server, or change what a process has one of, such as its clock. */
const alone = chosen([
  ...metadataAttacks,
  ...logAttacks,
  ...secretAttacks,
  ...successionAttacks,
  ...backupAttacks,
  ...keeperAttacks,
  ...houseAttacks,
  ...networkAttacks,
  ...abuseAttacks,
  ...besideAttacks,
  ...clockAttacks,
  ...diskAttacks,
  ...quoteAttacks,
  ...launchAttacks,
]);

/** How one went, as the process that tried it says. */
interface Tried {
  readonly group: string;
  readonly name: string;
  readonly outcome: Result['outcome'];
  readonly seconds: number;
}
const tried: Tried[] = [];
/** Marks that controls have turned off, in this process and in that of those that are alone. */
const turnedOff = new Set<string>();
/** Marks of what tests beside this suite take away. */
const OF_TESTS: readonly string[] = ['roots of the system'];

async function tryInTurn(attacks: Iterator<Attack>): Promise<void> {
  for (let next = attacks.next(); !next.done; next = attacks.next()) {
    const began = performance.now();
    const { attack, outcome } = await tryAttack(next.value);
    const { group, layer, name } = attack;
    console.log(`${outcome.padEnd(10)}  ${group.padEnd(16)}  ${layer.padEnd(36)}  ${name}`);
    const one: Tried = { group, name, outcome, seconds: (performance.now() - began) / 1000 };
    tried.push(one);
    await say(one);
  }
  for (const mark of marksTurnedOff()) turnedOff.add(mark);
}

/** Tells the process that began this one, if one did. */
function say(what: Tried | readonly string[]): Promise<void> {
  return new Promise((said) =>
    process.send === undefined ? said() : process.send(what, undefined, undefined, () => said()),
  );
}

/** Tries those that need a process of their own in one, beside those of this process. */
async function tryAlone(): Promise<void> {
  const child = fork(import.meta.filename, [ALONE]);
  child.on('message', (said: Tried | readonly string[]) => {
    if (!('group' in said)) for (const mark of said) turnedOff.add(mark);
    else tried.push(said);
  });
  await Promise.all([once(child, 'exit'), once(child, 'disconnect')]); // after its last word
}

if (wanted === ALONE) {
  await tryInTurn(alone.values());
  await say([...turnedOff]);
} else {
  const rest = wanted === undefined ? tryAlone() : tryInTurn(alone.values());
  const attacks = together.values();
  await Promise.all([rest, ...Array.from({ length: AT_ONCE }, () => tryInTurn(attacks))]);
}
if (wanted !== ALONE) report([...together, ...alone].length);
process.exit(tried.every(({ outcome }) => outcome === 'stopped') ? process.exitCode : 1);

/** What came of all; one that was not tried was not stopped. */
function report(all: number): void {
  if (process.env.ENCLAIM_TEST_TIMES === '1') {
    for (const { group, name, seconds } of tried
      .toSorted((one, other) => other.seconds - one.seconds)
      .slice(0, SLOWEST))
      console.log(`${seconds.toFixed(1).padStart(8)} s  ${group}  ${name}`);
  }
  const stopped = tried.filter(({ outcome }) => outcome === 'stopped').length;
  console.log(`${stopped} of ${all} attacks stopped at the named layer, each with its control`);
  const idle = wanted === undefined ? marksOfNoControl() : [];
  for (const mark of idle) console.log(`NO ATTACK   the mark ${mark} is turned off by no control`);
  process.exitCode = stopped === all && all > 0 && idle.length === 0 ? 0 : 1;
}

/** Marks that say of a defence that some control needs it, and none does. */
function marksOfNoControl(): string[] {
  return [...allMarks().keys()].filter((mark) => !turnedOff.has(mark) && !OF_TESTS.includes(mark));
}
