// A witness of C2SP tlog-witness, made of transparency-dev's packages: `keys NAME` prints new keys as JSON; `serve ORIGIN VKEY
// SKEY...` witnesses one log, prints its port of loopback, and ends with its input.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	cosignature "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

type keys struct {
	Signing   []string `json:"signing"`
	Verifying []string `json:"verifying"`
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "keys" {
		check(json.NewEncoder(os.Stdout).Encode(generate(os.Args[2])))
		return
	}
	if len(os.Args) < 5 || os.Args[1] != "serve" {
		log.Fatal("keys NAME | serve ORIGIN VKEY SKEY...")
	}
	// It tells its log of every request that it refuses.
	silent := slog.New(slog.DiscardHandler)
	klog.SetSlogLogger(silent)
	slog.SetDefault(silent)
	serve(os.Args[2], os.Args[3], os.Args[4:])
}

func generate(name string) keys {
	signer, verifier, err := note.GenerateKey(rand.Reader, name)
	check(err)
	cosigner, err := cosignature.VKeyToCosignatureV1(verifier)
	check(err)
	quantumSigner, quantum, err := cosignature.GenerateMLDSAKey(name)
	check(err)
	return keys{[]string{signer, quantumSigner}, []string{cosigner, quantum}}
}

func serve(origin, vkey string, skeys []string) {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	var signers []note.Signer
	for _, skey := range skeys {
		signer, err := cosignature.NewSignerForCosignatureV1(skey)
		check(err)
		signers = append(signers, signer)
	}
	one, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     signers,
		VerifierForLog: func(_ context.Context, asked string) (note.Verifier, bool, error) {
			return verifier, asked == origin, nil
		},
	})
	check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(one).AddCheckpoint)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	_, err = io.Copy(io.Discard, os.Stdin)
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
