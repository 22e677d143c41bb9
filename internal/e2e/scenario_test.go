package e2e_test

import (
	"mls-server/internal/e2e"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// newClient makes the keys of a device that is not registered yet.
func newClient(u *e2e.User) *mlstest.Client {
	return mlstest.NewClient(u.DID, "", mls.SuiteX25519AES128)
}
