// The name lies below go-tpm-tools: its check of quotes is in a package that only its own tree may import.
module github.com/google/go-tpm-tools/peer

go 1.26.0

require (
	github.com/google/go-eventlog v0.0.2
	github.com/google/go-sev-guest v0.15.0
	github.com/google/go-tdx-guest v0.3.2-0.20241009005452-097ee70d0843
	github.com/google/go-tpm-tools v0.4.7
	github.com/google/logger v1.1.1
	golang.org/x/mod v0.43.0
)

require (
	github.com/google/go-tpm v0.9.6 // indirect
	github.com/google/uuid v1.6.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	golang.org/x/crypto v0.31.0 // indirect
	golang.org/x/sys v0.28.0 // indirect
	google.golang.org/protobuf v1.35.1 // indirect
)

// go-tpm-tools asks for a state between two releases of go-tdx-guest. The release is what is judged here.
replace github.com/google/go-tdx-guest => github.com/google/go-tdx-guest v0.3.1
