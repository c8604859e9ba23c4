/** Disk images: what a machine without a kernel loader of its own boots from. */
export { type DiskContent, type DiskImage, makeDisk, PARTITIONS } from './disk.ts';
export { gptEvent, type Partition, type PartitionTable } from './gpt.ts';
export { SECTOR } from './sparse.ts';
export { DISK_TARGETS, type DiskTarget, writeDisk } from './targets.ts';
