/** `enclaim image`: everything about the base image. */
import type { Command } from 'commander';
import { register as build } from './build.ts';
import { register as disk } from './disk.ts';
import { register as firmware } from './firmware.ts';
import { register as inputs } from './inputs.ts';
import { register as lock } from './lock.ts';
import { register as ls } from './ls.ts';
import { register as measure } from './measure.ts';

export function register(program: Command): void {
  const image = program
    .command('image')
    .description('build, list, measure and update the base image, and put it on a disk');
  for (const add of [build, disk, ls, measure, firmware, inputs, lock]) add(image);
}
