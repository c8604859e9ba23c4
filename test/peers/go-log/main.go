// Reads a log's folder, as C2SP tlog-tiles lays it out, with the checksum database's notes and trees: the checkpoint's
// signature, the root recomputed from the entries, a proof of every seventh record and of every earlier size that is a
// multiple of a hundred, all from tiles. The tree of an older checkpoint, if one is named, must be part of the newer one.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 1 << 8

// folder reads tiles of height 8.
type folder struct{ path string }

func (folder) Height() int                         { return 8 }
func (folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f folder) ReadTiles(t []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(t))
	for i, tile := range t {
		// C2SP leaves the height out of paths.
		bytes, err := os.ReadFile(filepath.Join(f.path, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		read[i] = bytes
	}
	return read, nil
}

// checkpoint opens a signed note and reads its tree.
func checkpoint(path, key string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	bytes, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %q in %d lines", lines[0], len(lines))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, errors.New("no root")
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, nil
}

// entries reads all bundles.
func (f folder) entries(size int64) ([][]byte, error) {
	var all [][]byte
	for first := int64(0); first < size; first += width {
		count := min(width, size-first)
		tile := tlog.Tile{H: 8, L: -1, N: first / width, W: int(count)}
		name := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		bytes, err := os.ReadFile(filepath.Join(f.path, name))
		if err != nil {
			return nil, err
		}
		for ; len(bytes) > 0; count-- {
			length := int(binary.BigEndian.Uint16(bytes))
			all = append(all, bytes[2:2+length])
			bytes = bytes[2+length:]
		}
		if count != 0 {
			return nil, fmt.Errorf("%s lacks %d entries", name, count)
		}
	}
	return all, nil
}

// recomputed is the root over entries, from nothing else.
func recomputed(entries [][]byte) (tlog.Hash, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for i, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(i), entry, reader)
		if err != nil {
			return tlog.Hash{}, err
		}
		stored = append(stored, hashes...)
	}
	return tlog.TreeHash(int64(len(entries)), reader)
}

func read(path, key string, older []string) (map[string]int, error) {
	f := folder{path}
	tree, err := checkpoint(filepath.Join(path, "checkpoint"), key)
	if err != nil {
		return nil, err
	}
	entries, err := f.entries(tree.N)
	if err != nil {
		return nil, err
	}
	root, err := recomputed(entries)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, fmt.Errorf("entries lead to %v, the checkpoint has %v", root, tree.Hash)
	}
	count := map[string]int{"entries": len(entries)}
	reader := tlog.TileHashReader(tree, f)
	for i := int64(0); i < tree.N; i += 7 {
		proof, err := tlog.ProveRecord(tree.N, i, reader)
		if err != nil {
			return nil, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, i, tlog.RecordHash(entries[i])); err != nil {
			return nil, err
		}
		count["records"]++
	}
	for n := int64(100); n <= tree.N; n += 100 {
		then, err := tlog.TreeHash(n, reader)
		if err != nil {
			return nil, err
		}
		if err := consistent(tree, tlog.Tree{N: n, Hash: then}, reader); err != nil {
			return nil, err
		}
		count["sizes"]++
	}
	for _, file := range older {
		then, err := checkpoint(file, key)
		if err != nil {
			return nil, err
		}
		if err := consistent(tree, then, reader); err != nil {
			return nil, err
		}
		count["older"]++
	}
	return count, nil
}

func consistent(now, then tlog.Tree, reader tlog.HashReader) error {
	proof, err := tlog.ProveTree(now.N, then.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, now.N, now.Hash, then.N, then.Hash)
}

func main() {
	count, err := read(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(count); err != nil {
		panic(err)
	}
}
