package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"strings"

	"github.com/google/go-tdx-guest/verify"
)

// A pcs is Intel's provisioning service with the answers of a case.
type pcs testCase

func (p pcs) Get(address string) (map[string][]string, []byte, error) {
	chain := func(header, list string) map[string][]string {
		return map[string][]string{header: {url.QueryEscape(string(pemOf(p.Lists[list])))}}
	}
	switch {
	case strings.Contains(address, "/pckcrl?"):
		return chain("Sgx-Pck-Crl-Issuer-Chain", "pckCrlChain"), p.Bytes["pckCrl"], nil
	case strings.Contains(address, "/tcb?"):
		return chain("Tcb-Info-Issuer-Chain", "tcbInfoChain"), p.signed("tcbInfo", "tcbInfo"), nil
	case strings.Contains(address, "/qe/identity"):
		return chain("Sgx-Enclave-Identity-Issuer-Chain", "qeIdentityChain"), p.signed("enclaveIdentity", "qeIdentity"), nil
	}
	return nil, p.Bytes["rootCrl"], nil
}

// signed is an answer with the document as it was signed, byte for byte.
func (p pcs) signed(name, part string) []byte {
	signature := hex.EncodeToString(p.Bytes[part+"Signature"])
	return bytes.Join([][]byte{[]byte(`{"` + name + `":`), p.Bytes[part], []byte(`,"signature":"` + signature + `"}`)}, nil)
}

func pemOf(ders [][]byte) (out []byte) {
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

func judgeTdx(c testCase) (string, error) {
	root, err := x509.ParseCertificate(c.Bytes["root"])
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	collateral := len(c.Bytes["tcbInfo"]) > 0
	return "", verify.RawTdxQuote(c.Bytes["quote"], &verify.Options{
		CheckRevocations: collateral,
		GetCollateral:    collateral,
		Getter:           pcs(c),
		Now:              c.time(),
		TrustedRoots:     roots,
	})
}
