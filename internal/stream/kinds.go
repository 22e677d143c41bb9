package stream

import (
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// InfoKind is the kind of an infoEvent, as the lexicon spells it.
type InfoKind string

// The kinds that come from the log.
const (
	InfoMembershipChanged InfoKind = "membership-changed"
	InfoAdminChanged      InfoKind = "admin-changed"
	InfoEpochAdvanced     InfoKind = "epoch-advanced"
	InfoWelcomeAvailable  InfoKind = "welcome-available"
	InfoDevicePending     InfoKind = "device-pending"
	InfoRejoinRequested   InfoKind = "rejoin-requested"
	InfoRemovalPending    InfoKind = "removal-pending"
	InfoKeyPackagesLow    InfoKind = "key-packages-low"
	InfoReportReceived    InfoKind = "report-received"
	InfoReportResolved    InfoKind = "report-resolved"
	InfoBlockConflict     InfoKind = "block-conflict"
	InfoEpochReopened     InfoKind = "epoch-reopened"
	InfoWelcomeRevoked    InfoKind = "welcome-revoked"
	InfoGroupReset        InfoKind = "group-reset"
	InfoJoinedExternal    InfoKind = "device-joined-external"
	InfoInvitation        InfoKind = "invitation"
	InfoDeviceRevoked     InfoKind = "device-revoked"
)

// The kinds that are about the stream itself.
const (
	// InfoCompacted: events are missing here, and the client must fetch what they
	// told. With a conversation, only one large message of that is missing.
	InfoCompacted      InfoKind = "compacted"
	InfoSlowConsumer   InfoKind = "slow-consumer"
	InfoReauthenticate InfoKind = "reauthenticate"
	InfoRollover       InfoKind = "rollover"
	InfoServerRestart  InfoKind = "server-restart"
	// InfoPosition tells where to resume, and nothing else. Server-Sent Events have a field for
	// that.
	InfoPosition InfoKind = "position"
)

// texts are what infoEvents say to people.
var texts = map[InfoKind]string{
	InfoMembershipChanged: "The members of a conversation have changed.",
	InfoAdminChanged:      "The admins of a conversation have changed.",
	InfoEpochAdvanced:     "A commit has begun a new epoch.",
	InfoWelcomeAvailable:  "A Welcome is waiting; fetch it with getWelcome.",
	InfoDevicePending:     "A member's device waits to be added; commit it with addMembers.",
	InfoRejoinRequested:   "A member asks to be added again; commit it with addMembers.",
	InfoRemovalPending:    "A user has left and waits to be removed from the group by a commit.",
	InfoKeyPackagesLow:    "Key packages are running out; publish more, and one of last resort if the device has none.",
	InfoReportReceived:    "A member was reported.",
	InfoReportResolved:    "A report was resolved.",
	InfoBlockConflict:     "Two members of a conversation block each other.",
	InfoEpochReopened:     "Commits were taken back, since members could not follow them; go back to the epoch that is open again.",
	InfoWelcomeRevoked:    "A commit that added a device was taken back; its Welcome leads nowhere.",
	InfoGroupReset:        "A conversation has a new MLS group; show it as a change of keys.",
	InfoJoinedExternal:    "A device that no other one of its user vouches for has joined by itself.",
	InfoInvitation:        "You are invited to a conversation, or no longer; list invitations with getConvos.",
	InfoDeviceRevoked:     "One of your devices was deleted.",
	InfoCompacted:         "Events are missing here; fetch what changed with getConvos and getMessages.",
	InfoSlowConsumer:      "The stream was not read fast enough; resume with the last cursor.",
	InfoReauthenticate:    "The stream has reached its time; resume with a new token and the last cursor.",
	InfoRollover:          "The stream has reached its size; resume with a new token and the last cursor.",
	InfoServerRestart:     "The server is restarting; resume with the last cursor.",
	InfoPosition:          "Nothing has happened up to here.",
}

// infoKinds names the kinds of the log's events; a message has none.
var infoKinds = map[store.EventKind]InfoKind{
	store.EventMemberJoined:    InfoMembershipChanged,
	store.EventMemberLeft:      InfoMembershipChanged,
	store.EventAdminChanged:    InfoAdminChanged,
	store.EventEpochAdvanced:   InfoEpochAdvanced,
	store.EventWelcome:         InfoWelcomeAvailable,
	store.EventDevicePending:   InfoDevicePending,
	store.EventRejoinRequested: InfoRejoinRequested,
	store.EventRemovalPending:  InfoRemovalPending,
	store.EventKeyPackagesLow:  InfoKeyPackagesLow,
	store.EventReportReceived:  InfoReportReceived,
	store.EventReportResolved:  InfoReportResolved,
	store.EventBlockConflict:   InfoBlockConflict,
	store.EventEpochReopened:   InfoEpochReopened,
	store.EventWelcomeRevoked:  InfoWelcomeRevoked,
	store.EventGroupReset:      InfoGroupReset,
	store.EventJoinedExternal:  InfoJoinedExternal,
	store.EventInvited:         InfoMembershipChanged,
	store.EventInvitation:      InfoInvitation,
	store.EventDeviceRevoked:   InfoDeviceRevoked,
}

// Info is what an infoEvent tells.
type Info struct {
	Kind InfoKind
	// Text is for people.
	Text string
	// What it is about; "" and nil for nothing.
	// Convo is the conversation's first group, by which clients know it.
	Convo   mls.GroupID
	User    mls.DID
	Device  mls.DeviceID
	Request store.RequestID
	Epoch   *mls.Epoch
	// CommitID is the commit that led to Epoch.
	CommitID mls.MessageID
	// Event is the log's event, 0 for none, and At when it happened, floored to two seconds.
	Event store.EventKind
	At    time.Time
}

// Encoder turns events into those of the lexicon, which this package does not
// know. The name is that of the event's definition.
type Encoder interface {
	// Message is a message of the conversation that began with the group first.
	Message(cursor string, first mls.GroupID, m *store.Message) (name string, data lexrt.Response)
	Info(cursor string, i *Info) (name string, data lexrt.Response)
}
