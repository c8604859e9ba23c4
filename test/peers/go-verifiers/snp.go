package main

import (
	"crypto/x509"
	"fmt"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
)

// A getter answers every URL with the same bytes: the only thing that is asked for is the CRL.
type getter []byte

func (g getter) Get(string) ([]byte, error) { return g, nil }

func judgeSnp(c testCase) (string, error) {
	report, err := abi.ReportToProto(c.Bytes["report"])
	if err != nil {
		return "", err
	}
	ark, err := x509.ParseCertificate(c.Bytes["ark"])
	if err != nil {
		return "", err
	}
	ask, err := x509.ParseCertificate(c.Bytes["ask"])
	if err != nil {
		return "", err
	}
	info, err := abi.ParseSignerInfo(report.SignerInfo)
	if err != nil {
		return "", err
	}
	// A library that has no certificate of the kind that the report names takes AMD's own; the case's one is meant.
	chain := &spb.CertificateChain{AskCert: ask.Raw, ArkCert: ark.Raw}
	certs := &trust.ProductCerts{Ark: ark, Ask: ask, Asvk: ask}
	if info.SigningKey == abi.VlekReportSigner {
		chain.VlekCert = c.Bytes["leaf"]
	} else {
		chain.VcekCert = c.Bytes["leaf"]
	}
	line := c.Words["product"]
	options := &verify.Options{
		DisableCertFetching: true,
		CheckRevocations:    len(c.Bytes["crl"]) > 0,
		Getter:              getter(c.Bytes["crl"]),
		Now:                 c.time(),
		TrustedRoots:        map[string][]*trust.AMDRootCerts{line: {{Product: line, ProductLine: line, ProductCerts: certs}}},
	}
	attestation := &spb.Attestation{Report: report, CertificateChain: chain}
	if err := verify.SnpAttestation(attestation, options); err != nil {
		return "", err
	}
	if err := validate.SnpAttestation(attestation, carefulSnp()); err != nil {
		return "", fmt.Errorf("validate: %w", err)
	}
	return "", nil
}

// carefulSnp demands what ours demands in the same test: no debugging, no migration, VMPL 0, committed firmware.
func carefulSnp() *validate.Options {
	vmpl := 0
	return &validate.Options{
		GuestPolicy: abi.SnpPolicy{SMT: true},
		VMPL:        &vmpl,
	}
}
