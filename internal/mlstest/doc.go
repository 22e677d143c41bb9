// Package mlstest makes MLS objects for tests: byte for byte what RFC 9420 writes, with real
// signatures, as far as a delivery service can see. What only members can open (ciphertexts, tags,
// path secrets) is random.
//
// It keeps no state and reads no clock: two calls give two different objects, times are arguments.
// It must not be imported by anything but tests, and it panics where only a mistake in a test can
// fail.
package mlstest
