//go:build mlsdev

package config

// DevBuild is true in binaries that were built with the tag mlsdev. Only they
// contain the XRPC proxy and HS256 tokens (I12).
const DevBuild = true

// minJWTSecret is the shortest key of HS256, in bytes (RFC 7518 section 3.2).
const minJWTSecret = 32

// checkForbidden refuses outside of development what only it may do.
func checkForbidden(r *reader, c *Config) {
	if c.Mode != Development {
		if _, set := r.lookup("ENABLE_DIRECT_XRPC_PROXY"); set {
			r.fault("ENABLE_DIRECT_XRPC_PROXY", "is not allowed in production; unset it")
		}
		if c.JWTSecret != "" {
			r.fault("JWT_SECRET", "is not allowed in production; unset it")
		}
	}
	if n := len(c.JWTSecret); n > 0 && n < minJWTSecret {
		r.fault("JWT_SECRET", "must be at least 32 bytes")
	}
}
