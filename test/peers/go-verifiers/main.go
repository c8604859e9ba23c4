// Command go-verifiers judges what it is fed: one case as JSON on a line of stdin, one verdict on a line of stdout.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/logger"
)

// A testCase is what one judge needs. Bytes stand in base64, as encoding/json has them.
type testCase struct {
	Kind string `json:"kind"`
	// Milliseconds since 1970.
	Now   int64               `json:"now"`
	Bytes map[string][]byte   `json:"bytes"`
	Lists map[string][][]byte `json:"lists"`
	Words map[string]string   `json:"words"`
}

func (c testCase) time() time.Time { return time.UnixMilli(c.Now) }

type verdict struct {
	Accept bool `json:"accept"`
	// Why it was refused.
	Reason string `json:"reason,omitempty"`
	// What was read, where another reader could have read something else.
	Value string `json:"value,omitempty"`
}

var judges = map[string]func(testCase) (string, error){
	"snp":         judgeSnp,
	"tdx":         judgeTdx,
	"event-log":   judgeEventLog,
	"quote":       judgeQuote,
	"note":        judgeNote,
	"tree":        judgeTree,
	"inclusion":   judgeInclusion,
	"consistency": judgeConsistency,
	"tile-path":   judgeTilePath,
}

func judge(c testCase) (result verdict) {
	// A verifier that panics has accepted nothing.
	defer func() {
		if cause := recover(); cause != nil {
			result = verdict{Reason: fmt.Sprint("panic: ", cause)}
		}
	}()
	run, ok := judges[c.Kind]
	if !ok {
		panic("no judge of " + c.Kind)
	}
	value, err := run(c)
	if err != nil {
		return verdict{Reason: err.Error()}
	}
	return verdict{Accept: true, Value: value}
}

func main() {
	logger.Init("", false, false, io.Discard)
	decoder, encoder := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var c testCase
		err := decoder.Decode(&c)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = encoder.Encode(judge(c))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
