//go:build !mlsdev

package config

// DevBuild is true in binaries that were built with the tag mlsdev. Only they
// contain the XRPC proxy and HS256 tokens (I12).
const DevBuild = false

// checkForbidden refuses what no released binary may do.
func checkForbidden(r *reader, c *Config) {
	if _, set := r.lookup("ENABLE_DIRECT_XRPC_PROXY"); set {
		r.fault("ENABLE_DIRECT_XRPC_PROXY", "is not allowed: this binary has no XRPC proxy; unset it")
	}
	if c.JWTSecret != "" {
		r.fault("JWT_SECRET", "is not allowed: this binary accepts no HS256 tokens; unset it")
	}
}
