package mls

import "time"

// Kind is what went wrong, one for each answer that a caller could act on. The set is closed.
// A Kind is an error itself: verbs return it where there is nothing to add, and errors.Is compares
// by it. Its text is fit for a client's eyes: it holds no identifier and no value of the
// caller's (I9).
type Kind uint8 //nolint:errname // like syscall.Errno, a code that can also be returned

// The kinds. Zero is no kind.
//
//nolint:errname // they are compared as sentinel errors, and are named so
const (
	_ Kind = iota
	// ErrConvoNotFound: there is no such conversation, or the caller was never in it.
	ErrConvoNotFound
	// ErrNotMember: the caller is no longer a member, or the target is not one.
	ErrNotMember
	// ErrNotAdmin: the action is for admins of the conversation.
	ErrNotAdmin
	// ErrNotAuthorized: the caller may not do this at all.
	ErrNotAuthorized
	// ErrAlreadyMember: the user is in the group and has asked for nothing that would add it again.
	ErrAlreadyMember
	// ErrAlreadyAdmin: the target is an admin.
	ErrAlreadyAdmin
	// ErrNotAdminTarget: the target is not an admin.
	ErrNotAdminTarget
	// ErrLastAdmin: a conversation keeps at least one admin.
	ErrLastAdmin
	// ErrLastMember: nobody else remains in the conversation.
	ErrLastMember
	// ErrCannotRemoveSelf: leaving is another method's matter.
	ErrCannotRemoveSelf
	// ErrCannotReportSelf: reporter and reported are one user.
	ErrCannotReportSelf
	// ErrTargetNotMember: the reported user is not and was not lately a member.
	ErrTargetNotMember
	// ErrTooManyMembers: the conversation would grow past its cap.
	ErrTooManyMembers
	// ErrTooManyDIDs: a request names more DIDs than the method takes.
	ErrTooManyDIDs
	// ErrInvalidDID: a DID is malformed, or not one that the caller may ask about.
	ErrInvalidDID
	// ErrTooManyDevices: a user has as many devices as it may have.
	ErrTooManyDevices
	// ErrDeviceNotFound: the caller has no such device.
	ErrDeviceNotFound
	// ErrDeviceIDTaken: the id belongs to another device, or did lately.
	ErrDeviceIDTaken
	// ErrDeviceProofRequired: a change of the caller's devices needs a signature by one of them.
	ErrDeviceProofRequired
	// ErrTooManyKeyPackages: a device has as many live key packages as it may have.
	ErrTooManyKeyPackages
	// ErrDuplicatePublicKey: the signature key is registered for another user.
	ErrDuplicatePublicKey
	// ErrInvalidKeyPackage: a key package failed a check; the code says which.
	ErrInvalidKeyPackage
	// ErrKeyPackageNotFound: a hash or a Welcome names a key package that is not there.
	ErrKeyPackageNotFound
	// ErrExpirationTooFar: a key package's expiry lies more than 90 days ahead.
	ErrExpirationTooFar
	// ErrInvalidCipherSuite: the name is unknown, or the suite is not accepted here.
	ErrInvalidCipherSuite
	// ErrInvalidGroupID: the group id is not hex of even length, or too long.
	ErrInvalidGroupID
	// ErrGroupAlreadyExists: the group id belongs to another conversation.
	ErrGroupAlreadyExists
	// ErrEpochMismatch: a request or message was made for another epoch than the conversation's.
	ErrEpochMismatch
	// ErrCommitNotFound: there is no such commit in the conversation's group.
	ErrCommitNotFound
	// ErrCommitVoid: the commit was taken back, since members could not follow it.
	ErrCommitVoid
	// ErrInvalidEpochRange: fromEpoch > toEpoch, or beyond the current epoch.
	ErrInvalidEpochRange
	// ErrInvalidCommit: a commit or proposal breaks a rule; the code says which.
	ErrInvalidCommit
	// ErrInvalidGroupInfo: a GroupInfo is missing, failed a check, or is not that of the epoch to
	// which its commit leads; the code says which.
	ErrInvalidGroupInfo
	// ErrGroupInfoRequired: this server makes conversations only around groups that it can follow.
	ErrGroupInfoRequired
	// ErrGroupInfoUnavailable: there is no GroupInfo of the epoch to join by.
	ErrGroupInfoUnavailable
	// ErrExternalJoinNotAllowed: the device may not join the group by itself: no device of its user
	// vouches for it, or nobody may.
	ErrExternalJoinNotAllowed
	// ErrGroupReinitialized: a ReInit commit has ended the group (RFC 9420 12.1.5).
	ErrGroupReinitialized
	// ErrGroupReset: a request speaks of a group that the conversation no longer has.
	ErrGroupReset
	// ErrInvalidWelcome: a Welcome failed a check; the code says which. No method of the contract
	// declares a name for it, so it is answered as InvalidRequest.
	ErrInvalidWelcome
	// ErrWelcomeMismatch: the Welcome is not for exactly those who are added.
	ErrWelcomeMismatch
	// ErrWelcomeNotFound: no Welcome waits for the device.
	ErrWelcomeNotFound
	// ErrInvalidMessageID: the id is neither a ULID nor a UUID. It is answered as InvalidRequest.
	ErrInvalidMessageID
	// ErrInvalidConvoID: the id is neither a TID nor a group id. Unknown ids are answered
	// alike, so it is answered as ConvoNotFound.
	ErrInvalidConvoID
	// ErrInvalidBase64: a text is not base64 in any of the four accepted forms. It is
	// answered by the error of what the text was to hold, or as InvalidRequest.
	ErrInvalidBase64
	// ErrInvalidAsset: a message's sizes or framing are wrong; the detail says how.
	ErrInvalidAsset
	// ErrMessageTooLarge: the ciphertext exceeds MaxPaddedSize, or MaxEphemeralSize.
	ErrMessageTooLarge
	// ErrMessageIDConflict: the message id stands for another ciphertext already.
	ErrMessageIDConflict
	// ErrInvalidCursor: a cursor is malformed, of another conversation, or ahead of the log.
	ErrInvalidCursor
	// ErrRateLimitExceeded: a limit of the domain is used up (a rejoin, a claim, a report,
	// streams).
	ErrRateLimitExceeded
	// ErrTooManyInvitations: the caller has invited too many users, one of them too often, or one
	// that has declined.
	ErrTooManyInvitations
	// ErrConsumerTooSlow: a client did not read its subscription fast enough.
	ErrConsumerTooSlow
	// ErrIdempotencyKeyReused: the key was used for a request with another body.
	ErrIdempotencyKeyReused
	// ErrReportNotFound: there is no such report, or the caller may not know of it.
	ErrReportNotFound
	// ErrAlreadyResolved: another admin resolved the report first.
	ErrAlreadyResolved
	// ErrBlockedByMember: a block stands between a new user and a present member.
	ErrBlockedByMember
	// ErrMutualBlockDetected: a block stands between two users of a new conversation.
	ErrMutualBlockDetected
	// ErrBlockNotVerified: the block source does not confirm what the caller says.
	ErrBlockNotVerified
	// ErrBlockSourceUnavailable: the block source is down and nothing fresh enough is known
	// (the contract's BlueskyServiceUnavailable).
	ErrBlockSourceUnavailable
	// ErrInvalidInput: a request breaks a rule that the lexicon language cannot express; the detail
	// says where and what was expected.
	ErrInvalidInput
	// ErrRequestInProgress: another request with the same idempotency key is being worked on.
	ErrRequestInProgress
	// ErrBusy: the database gave up waiting, for a lock or within the statement's time, it is full
	// or read-only, or the connection to it was lost; or the server is not ready for the request
	// yet. Whether the request took effect may be unknown; it may be repeated with the same keys.
	ErrBusy

	kindEnd
)

// kindTexts are the texts of the kinds.
var kindTexts = [kindEnd]string{
	ErrConvoNotFound:          "conversation not found",
	ErrNotMember:              "not a member of the conversation",
	ErrNotAdmin:               "not an admin of the conversation",
	ErrNotAuthorized:          "not authorized",
	ErrAlreadyMember:          "already a member of the conversation",
	ErrAlreadyAdmin:           "already an admin",
	ErrNotAdminTarget:         "the target is not an admin",
	ErrLastAdmin:              "the last admin cannot be demoted",
	ErrLastMember:             "the last member cannot leave",
	ErrCannotRemoveSelf:       "an admin cannot remove itself, use leaveConvo",
	ErrCannotReportSelf:       "a user cannot report itself",
	ErrTargetNotMember:        "the target is not a member of the conversation",
	ErrTooManyMembers:         "too many members",
	ErrTooManyDIDs:            "too many DIDs",
	ErrInvalidDID:             "invalid DID",
	ErrTooManyDevices:         "too many devices",
	ErrDeviceNotFound:         "device not found",
	ErrDeviceIDTaken:          "the device id belongs to another device",
	ErrDeviceProofRequired:    "a signature by an older device of yours is needed",
	ErrTooManyKeyPackages:     "too many live key packages",
	ErrDuplicatePublicKey:     "the signature public key is registered already",
	ErrInvalidKeyPackage:      "invalid key package",
	ErrKeyPackageNotFound:     "key package not found",
	ErrExpirationTooFar:       "the expiry is too far ahead",
	ErrInvalidCipherSuite:     "invalid cipher suite",
	ErrInvalidGroupID:         "the group id must be hex of even length, at most 128 characters",
	ErrGroupAlreadyExists:     "a conversation with this group id exists",
	ErrEpochMismatch:          "epoch mismatch",
	ErrCommitNotFound:         "commit not found",
	ErrCommitVoid:             "the commit was taken back: members could not follow it",
	ErrInvalidEpochRange:      "invalid epoch range",
	ErrInvalidCommit:          "invalid commit",
	ErrInvalidGroupInfo:       "invalid GroupInfo",
	ErrGroupInfoRequired:      "a conversation needs the GroupInfo of its group",
	ErrGroupInfoUnavailable:   "there is no GroupInfo of this epoch to join by",
	ErrExternalJoinNotAllowed: "the device may not join by itself; ask to be added",
	ErrGroupReinitialized:     "the group has ended; its members begin another one",
	ErrGroupReset:             "the group was begun anew",
	ErrInvalidWelcome:         "invalid Welcome",
	ErrWelcomeMismatch:        "the Welcome is not for exactly those who are added",
	ErrWelcomeNotFound:        "no Welcome is waiting",
	ErrInvalidMessageID:       "the message id must be a ULID of 26 Crockford characters, or a UUID of 36",
	ErrInvalidConvoID:         "conversation not found",
	ErrInvalidBase64:          "must be base64 (standard or URL alphabet, padded or not)",
	ErrInvalidAsset:           "invalid asset",
	ErrMessageTooLarge:        "the message exceeds 10 MiB",
	ErrMessageIDConflict:      "the message id is taken by another message",
	ErrInvalidCursor:          "invalid cursor",
	ErrRateLimitExceeded:      "rate limit exceeded",
	ErrConsumerTooSlow:        "the subscription was not read fast enough; resume with the last cursor",
	ErrTooManyInvitations:     "too many invitations, or one to a user who has declined",
	ErrIdempotencyKeyReused:   "the idempotency key was used for another request",
	ErrReportNotFound:         "report not found",
	ErrAlreadyResolved:        "the report is resolved already",
	ErrBlockedByMember:        "a block stands between a new user and a member",
	ErrMutualBlockDetected:    "a block stands between two of the users",
	ErrBlockNotVerified:       "the block could not be verified",
	ErrBlockSourceUnavailable: "the block source is unavailable",
	ErrInvalidInput:           "invalid request",
	ErrRequestInProgress:      "a request with this idempotency key is in progress",
	ErrBusy:                   "the server or its database is busy",
}

// Kinds lists all kinds, for tables and tests.
func Kinds() []Kind {
	all := make([]Kind, 0, kindEnd-1)
	for k := Kind(1); k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

// Error returns the text of the kind.
func (k Kind) Error() string {
	if k == 0 || k >= kindEnd {
		return "unknown kind of error"
	}
	return kindTexts[k]
}

// domain gives a bare kind the form of an Error, with the hint that errors of the kind have when
// nothing better is known.
func (k Kind) domain() *Error {
	e := newError(k)
	if k == ErrBusy || k == ErrRequestInProgress || k == ErrRateLimitExceeded {
		e.RetryAfter = time.Second
	}
	return e
}
