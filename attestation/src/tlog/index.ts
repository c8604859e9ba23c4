/** Transparency logs (C2SP): signed notes, checkpoints, tiles and proofs over RFC 6962 trees. */

export { type Checkpoint, formatCheckpoint, parseCheckpoint } from './checkpoint.ts';
export {
  cosignedText,
  formatNote,
  formatNoteKey,
  isNoteName,
  type NoteKey,
  noteFromBytes,
  noteKey,
  parseNote,
  parseNoteKey,
  signatureLine,
  type VerifiedNote,
  verifyNote,
} from './note.ts';
export { formatLogProof, type LogProof, parseLogProof, verifyLogProof } from './proof.ts';
export {
  encodeEntries,
  entryBundle,
  parseEntries,
  parseTilePath,
  type ReadTile,
  type Tile,
  TileTree,
  tileBytes,
  tilePath,
  tilesOf,
} from './tile.ts';
