package app

import "mls-server/internal/store"

// messageKinds names kinds of messages in metrics.
var messageKinds = map[store.MessageKind]string{
	store.KindApplication: "app", store.KindCommit: "commit", store.KindProposal: "proposal",
}

// stored counts a message that the store has committed.
func (a *App) stored(kind store.MessageKind, size int) {
	a.metrics.ObserveMessage(messageKinds[kind], size)
}
