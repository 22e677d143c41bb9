package mls

import "strconv"

// CipherSuite is the number of an MLS cipher suite (RFC 9420 17.1).
type CipherSuite uint16

// The cipher suites of the contract, and the one of RFC 9420 (7) beyond it.
const (
	SuiteX25519AES128   CipherSuite = 1 // MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
	SuiteP256AES128     CipherSuite = 2 // MLS_128_DHKEMP256_AES128GCM_SHA256_P256
	SuiteX25519ChaCha   CipherSuite = 3 // MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519
	SuiteX448AES256     CipherSuite = 4 // MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448
	SuiteP521AES256     CipherSuite = 5 // MLS_256_DHKEMP521_AES256GCM_SHA512_P521
	SuiteX448ChaCha     CipherSuite = 6 // MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448
	SuiteP384AES256     CipherSuite = 7 // MLS_256_DHKEMP384_AES256GCM_SHA384_P384
	lastContractedSuite             = SuiteX448ChaCha
)

var suiteNames = [...]string{
	SuiteX25519AES128: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
	SuiteP256AES128:   "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
	SuiteX25519ChaCha: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
	SuiteX448AES256:   "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
	SuiteP521AES256:   "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
	SuiteX448ChaCha:   "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
	SuiteP384AES256:   "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
}

// CipherSuites returns the suites of the contract, in the order of their numbers.
func CipherSuites() []CipherSuite {
	return []CipherSuite{
		SuiteX25519AES128, SuiteP256AES128, SuiteX25519ChaCha,
		SuiteX448AES256, SuiteP521AES256, SuiteX448ChaCha,
	}
}

// ParseCipherSuite returns the suite of the contract with the given RFC 9420
// name, or ErrInvalidCipherSuite.
func ParseCipherSuite(name string) (CipherSuite, error) {
	for s := SuiteX25519AES128; s <= lastContractedSuite; s++ {
		if suiteNames[s] == name {
			return s, nil
		}
	}
	return 0, ErrInvalidCipherSuite
}

// Known reports whether the suite is one of RFC 9420, so that this package can
// verify its signatures.
func (s CipherSuite) Known() bool { return s >= SuiteX25519AES128 && s <= SuiteP384AES256 }

// String returns the RFC 9420 name, or "0x" and the number in hex for an unknown suite.
func (s CipherSuite) String() string {
	if s.Known() {
		return suiteNames[s]
	}
	return "0x" + strconv.FormatUint(uint64(s), 16)
}
