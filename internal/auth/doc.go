// Package auth decides who is calling: it checks atproto service tokens
// (inter-service JWTs) against the DID documents of their issuers.
//
// Invariants it keeps:
//   - the method a token must name comes from the generated descriptor, never
//     from a URL (I11);
//   - the key of the issuer's DID document chooses the algorithm, the token's
//     header only has to agree with it;
//   - a token is accepted once: the pair of issuer and jti is remembered for at
//     least as long as the token could be used again, as a keyed hash that names
//     no method (I7). When a store of used tokens fails the next one decides;
//     when all fail, nobody gets in;
//   - identity is the issuer alone; the sub claim has no meaning;
//   - no error text repeats a value of the token (I9).
//
// Everything is fetched through internal/egress. The package must not log, must
// not read the environment, and must contain no code that accepts symmetric or
// unsigned tokens (I12).
package auth
