/** Transparency logs (C2SP): signed notes, checkpoints, tiles and proofs over RFC 6962 trees. */

export { type Checkpoint, formatCheckpoint, parseCheckpoint, parseSize } from './checkpoint.ts';
export {
  cosignedMessage,
  cosignedText,
  formatNote,
  formatNoteKey,
  isNoteName,
  linesOfKeys,
  type Note,
  type NoteAlgorithm,
  type NoteKey,
  type NoteSignature,
  noteFromBytes,
  noteKey,
  parseNote,
  parseNoteKey,
  signatureLine,
  type VerifiedNote,
  type VerifiedSignature,
  verifyNote,
} from './note.ts';
export {
  cosigners,
  type PolicyMember,
  parseTlogPolicy,
  parseWitnessLines,
  reachesQuorum,
  type WitnessPolicy,
} from './policy.ts';
export { formatLogProof, type LogProof, parseLogProof, verifyLogProof } from './proof.ts';
export {
  encodeEntries,
  entryBundle,
  parseEntries,
  parseTilePath,
  type ReadTile,
  TILE_WIDTH,
  type Tile,
  TileTree,
  tileBytes,
  tilePath,
  tilesOf,
} from './tile.ts';
export { type HashTile, hashesOf, VerifiedTiles } from './verified-tiles.ts';
export {
  type AddCheckpoint,
  formatAddCheckpoint,
  MAX_ADD_CHECKPOINT_BYTES,
  MAX_CONSISTENCY_HASHES,
  parseAddCheckpoint,
  parseWitnessedSize,
  WITNESSED_SIZE_TYPE,
  witnessedPath,
} from './witness.ts';
