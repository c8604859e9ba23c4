package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func judgeNote(c testCase) (string, error) {
	var keys []note.Verifier
	for _, text := range c.Lists["keys"] {
		key, err := note.NewVerifier(string(text))
		if err != nil {
			return "", err
		}
		keys = append(keys, key)
	}
	opened, err := note.Open(c.Bytes["note"], note.VerifierList(keys...))
	if err != nil {
		return "", err
	}
	names := make([]string, len(opened.Sigs))
	for i, signature := range opened.Sigs {
		names[i] = signature.Name
	}
	return fmt.Sprintf("%x by %s", opened.Text, strings.Join(names, ",")), nil
}

func judgeTree(c testCase) (string, error) {
	tree, err := tlog.ParseTree(c.Bytes["text"])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %x", tree.N, tree.Hash[:]), nil
}

func judgeInclusion(c testCase) (string, error) {
	size, index, err := numbers(c, "size", "index")
	if err != nil {
		return "", err
	}
	path, err := hashes(c.Lists["path"])
	if err != nil {
		return "", err
	}
	ends, err := hashes([][]byte{c.Bytes["root"], c.Bytes["leaf"]})
	if err != nil {
		return "", err
	}
	return "", tlog.CheckRecord(path, size, ends[0], index, ends[1])
}

func judgeConsistency(c testCase) (string, error) {
	size, old, err := numbers(c, "size", "old")
	if err != nil {
		return "", err
	}
	path, err := hashes(c.Lists["path"])
	if err != nil {
		return "", err
	}
	ends, err := hashes([][]byte{c.Bytes["root"], c.Bytes["oldRoot"]})
	if err != nil {
		return "", err
	}
	return "", tlog.CheckTree(path, size, ends[0], old, ends[1])
}

func judgeTilePath(c testCase) (string, error) {
	tile, err := tlog.ParseTilePath(c.Words["path"])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d %d", tile.L, tile.N, tile.W), nil
}

func numbers(c testCase, a, b string) (int64, int64, error) {
	first, err := strconv.ParseInt(c.Words[a], 10, 64)
	second, other := strconv.ParseInt(c.Words[b], 10, 64)
	return first, second, errors.Join(err, other)
}

func hashes(lists [][]byte) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(lists))
	for i, one := range lists {
		if copy(out[i][:], one) != tlog.HashSize || len(one) != tlog.HashSize {
			return nil, fmt.Errorf("hash of %d bytes", len(one))
		}
	}
	return out, nil
}
