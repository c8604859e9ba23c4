// A log of Tessera that has its checkpoints cosigned: FOLDER, then a file of C2SP tlog-policy. Adds entries, publishes a
// checkpoint under the quorum of the policy after each, and prints how many were published.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

const entries = 5

func main() {
	ctx := context.Background()
	if len(os.Args) == 2 {
		key, vkey, err := note.GenerateKey(rand.Reader, os.Args[1])
		check(err)
		fmt.Printf("%s\n%s\n", key, vkey)
		return
	}
	folder, policyFile, key := os.Args[1], os.Args[2], os.Args[3]
	policy, err := os.ReadFile(policyFile)
	check(err)
	witnesses, err := tessera.NewWitnessGroupFromPolicy(policy)
	check(err)
	signer, err := note.NewSigner(key)
	check(err)
	driver, err := posix.New(ctx, posix.Config{Path: folder})
	check(err)
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(200*time.Millisecond).
		WithBatching(1, 50*time.Millisecond).
		WithWitnesses(witnesses, nil)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	check(err)
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	for i := 0; i < entries; i++ {
		within, cancel := context.WithTimeout(ctx, 60*time.Second)
		index, checkpoint, err := awaiter.Await(within, appender.Add(ctx, tessera.NewEntry([]byte(fmt.Sprintf("entry %d", i)))))
		cancel()
		check(err)
		if !witnesses.Satisfied(checkpoint) {
			log.Fatalf("published without its quorum: %s", checkpoint)
		}
		fmt.Printf("published %d\n", index.Index)
	}
	check(shutdown(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
