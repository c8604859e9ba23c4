/** `npm run hostile`: tries every attack and prints what stopped it. Fails where one succeeds, or a control does not. */

import { languageAttacks } from './language.ts';
import { type Attack, tryAttack } from './attack.ts';

const attacks: readonly Attack[] = [...languageAttacks];
let bad = 0;
for (const attack of attacks) {
  const { outcome } = await tryAttack(attack);
  if (outcome !== 'stopped') bad++;
  console.log(`${outcome.padEnd(10)}  ${attack.group.padEnd(18)}  ${attack.layer.padEnd(28)}  ${attack.name}`);
}
console.log(`${attacks.length - bad} of ${attacks.length} attacks stopped at the named layer, each with its control`);
process.exitCode = bad === 0 ? 0 : 1;
