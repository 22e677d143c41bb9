package handlers

import "slices"

// heeded are the parameters, and members of bodies, that this API has had in some method and
// version and that change what a request means: where a reading begins or ends, which part is asked
// for, how a message is delivered, and what goes together with a commit. A method that does not
// know one refuses it (InvalidRequest): a client that pages by a name which is ignored reads its
// first page for ever, and what it wants forgotten would be kept. All other names that are unknown
// are ignored, as atproto has it.
var heeded = []string{
	"commit", "cursor", "delivery", "deviceIds", "externalCommit", "fromEpoch", "sinceMessage", "sinceSeq", "state",
	"status", "toEpoch", "welcomeMessage", "welcomeMessages",
}

// Heeded returns the names that no method ignores.
func Heeded() []string { return slices.Clone(heeded) }
