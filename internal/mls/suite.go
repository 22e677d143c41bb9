package mls

import "strconv"

// CipherSuite is the number of an MLS cipher suite (RFC 9420 17.1).
type CipherSuite uint16

// The cipher suites of the contract: those of RFC 9420, and one whose KEM is a hybrid of ML-KEM-768
// and X25519.
const (
	SuiteX25519AES128 CipherSuite = 1      // MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
	SuiteP256AES128   CipherSuite = 2      // MLS_128_DHKEMP256_AES128GCM_SHA256_P256
	SuiteX25519ChaCha CipherSuite = 3      // MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519
	SuiteX448AES256   CipherSuite = 4      // MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448
	SuiteP521AES256   CipherSuite = 5      // MLS_256_DHKEMP521_AES256GCM_SHA512_P521
	SuiteX448ChaCha   CipherSuite = 6      // MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448
	SuiteP384AES256   CipherSuite = 7      // MLS_256_DHKEMP384_AES256GCM_SHA384_P384
	SuiteXWingChaCha  CipherSuite = 0x004d // MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519
)

// CipherSuites returns the suites of the contract, in the order of their numbers.
func CipherSuites() []CipherSuite {
	return []CipherSuite{
		SuiteX25519AES128, SuiteP256AES128, SuiteX25519ChaCha, SuiteX448AES256,
		SuiteP521AES256, SuiteX448ChaCha, SuiteP384AES256, SuiteXWingChaCha,
	}
}

// ParseCipherSuite returns the suite of the contract with the given name, or
// ErrInvalidCipherSuite.
func ParseCipherSuite(name string) (CipherSuite, error) {
	for s, spec := range specs {
		if spec.name == name {
			return s, nil
		}
	}
	return 0, ErrInvalidCipherSuite
}

// Known reports whether the suite is one of the contract, so that this package can verify
// its signatures.
func (s CipherSuite) Known() bool {
	_, ok := specs[s]
	return ok
}

// String returns the suite's name, or "0x" and the number in hex for an unknown suite.
func (s CipherSuite) String() string {
	if spec, ok := specs[s]; ok {
		return spec.name
	}
	return "0x" + strconv.FormatUint(uint64(s), 16)
}
