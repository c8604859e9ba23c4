package main

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"
	"github.com/google/go-tpm-tools/internal"
	pb "github.com/google/go-tpm-tools/proto/tpm"
)

var banks = map[string]struct {
	hash crypto.Hash
	id   pb.HashAlgo
}{
	"sha1":   {crypto.SHA1, pb.HashAlgo_SHA1},
	"sha256": {crypto.SHA256, pb.HashAlgo_SHA256},
	"sha384": {crypto.SHA384, pb.HashAlgo_SHA384},
	"sha512": {crypto.SHA512, pb.HashAlgo_SHA512},
}

const pcr = "pcr"

// registers are the values of a case, under pcr0, pcr1 and so on.
func registers(c testCase) map[uint32][]byte {
	values := map[uint32][]byte{}
	for name, value := range c.Bytes {
		if index, err := strconv.Atoi(strings.TrimPrefix(name, pcr)); err == nil {
			values[uint32(index)] = value
		}
	}
	return values
}

func judgeEventLog(c testCase) (string, error) {
	var values []register.MR
	for index, digest := range registers(c) {
		values = append(values, register.PCR{Index: int(index), Digest: digest, DigestAlg: banks[c.Words["bank"]].hash})
	}
	// It takes no bytes for an empty log that is in order, without a look at the registers.
	if len(c.Bytes["log"]) == 0 {
		return "", fmt.Errorf("no log")
	}
	_, err := tcg.ParseAndReplay(c.Bytes["log"], values, tcg.ParseOpts{})
	return "", err
}

func judgeQuote(c testCase) (string, error) {
	key, err := x509.ParsePKIXPublicKey(c.Bytes["spki"])
	if err != nil {
		return "", err
	}
	quote := &pb.Quote{
		Quote:  c.Bytes["attest"],
		RawSig: c.Bytes["signature"],
		Pcrs:   &pb.PCRs{Hash: banks[c.Words["bank"]].id, Pcrs: registers(c)},
	}
	return "", internal.VerifyQuote(quote, key, c.Bytes["nonce"])
}
