// Package pds runs the server beside real PLC directories and personal data servers, an old and a
// new one, and under a real browser: what is known of them elsewhere is what they are known to do.
// Its tests need what make e2e-pds installs, so they have the build tag pds and are run by it.
package pds
