package streambench

import (
	"crypto/rand"

	"mls-server/internal/mls"
)

// newGroup is the id of a new group.
func newGroup() mls.GroupID { return mls.GroupIDFromBytes([]byte(rand.Text())) }
