package mls

import (
	"errors"
	"strconv"
	"time"
)

// Domain errors, one for each error name of the contract. They are compared by
// errors.Is; the typed errors below unwrap to the sentinel of their name. Their text
// is fit for a client's eyes: it holds no identifier and no value of the caller's (I9).
var (
	// ErrConvoNotFound: there is no such conversation, or the caller was never in it.
	ErrConvoNotFound = errors.New("conversation not found")
	// ErrNotMember: the caller is no longer a member, or the target is not one.
	ErrNotMember = errors.New("not a member of the conversation")
	// ErrNotAdmin: the action is for admins of the conversation.
	ErrNotAdmin = errors.New("not an admin of the conversation")
	// ErrNotAuthorized: the caller may not do this at all.
	ErrNotAuthorized = errors.New("not authorized")
	// ErrAlreadyMember: the user is in the group and has asked for nothing that would add it again.
	ErrAlreadyMember = errors.New("already a member of the conversation")
	// ErrAlreadyAdmin: the target is an admin.
	ErrAlreadyAdmin = errors.New("already an admin")
	// ErrNotAdminTarget: the target is not an admin.
	ErrNotAdminTarget = errors.New("the target is not an admin")
	// ErrLastAdmin: a conversation keeps at least one admin.
	ErrLastAdmin = errors.New("the last admin cannot be demoted")
	// ErrLastMember: nobody else remains in the conversation.
	ErrLastMember = errors.New("the last member cannot leave")
	// ErrCannotRemoveSelf: leaving is another method's matter.
	ErrCannotRemoveSelf = errors.New("an admin cannot remove itself, use leaveConvo")
	// ErrCannotReportSelf: reporter and reported are one user.
	ErrCannotReportSelf = errors.New("a user cannot report itself")
	// ErrTargetNotMember: the reported user is not and was not lately a member.
	ErrTargetNotMember = errors.New("the target is not a member of the conversation")
	// ErrTooManyMembers: the conversation would grow past its cap.
	ErrTooManyMembers = errors.New("too many members")
	// ErrTooManyDIDs: a request names more DIDs than the method takes.
	ErrTooManyDIDs = errors.New("too many DIDs")
	// ErrInvalidDID: a DID is malformed, or not one that the caller may ask about.
	ErrInvalidDID = errors.New("invalid DID")
	// ErrTooManyDevices: a user has as many devices as it may have.
	ErrTooManyDevices = errors.New("too many devices")
	// ErrTooManyKeyPackages: a device has as many live key packages as it may have.
	ErrTooManyKeyPackages = errors.New("too many live key packages")
	// ErrDuplicatePublicKey: the signature key is registered for another user.
	ErrDuplicatePublicKey = errors.New("the signature public key is registered already")
	// ErrInvalidKeyPackage is what an *InvalidKeyPackageError unwraps to.
	ErrInvalidKeyPackage = errors.New("invalid key package")
	// ErrKeyPackageNotFound: a hash or a Welcome names a key package that is not there.
	ErrKeyPackageNotFound = errors.New("key package not found")
	// ErrExpirationTooFar: a key package's expiry lies more than 90 days ahead.
	ErrExpirationTooFar = errors.New("the expiry is too far ahead")
	// ErrInvalidCipherSuite: the name is unknown, or the suite is not accepted here.
	ErrInvalidCipherSuite = errors.New("invalid cipher suite")
	// ErrInvalidGroupID: the group id is not hex of even length, or too long.
	ErrInvalidGroupID = errors.New("the group id must be hex of even length, at most 128 characters")
	// ErrGroupAlreadyExists: the group id belongs to another conversation.
	ErrGroupAlreadyExists = errors.New("a conversation with this group id exists")
	// ErrEpochMismatch is what an *EpochMismatchError unwraps to.
	ErrEpochMismatch = errors.New("epoch mismatch")
	// ErrInvalidEpochRange: fromEpoch > toEpoch, or beyond the current epoch.
	ErrInvalidEpochRange = errors.New("invalid epoch range")
	// ErrInvalidCommit is what an *InvalidCommitError unwraps to.
	ErrInvalidCommit = errors.New("invalid commit")
	// ErrInvalidWelcome is what an *InvalidWelcomeError unwraps to. No method of the contract
	// declares a name for it, so it is answered as InvalidRequest.
	ErrInvalidWelcome = errors.New("invalid Welcome")
	// ErrWelcomeNotFound: no Welcome waits for the device.
	ErrWelcomeNotFound = errors.New("no Welcome is waiting")
	// ErrInvalidMessageID: the id is not a ULID. It is answered as InvalidRequest.
	ErrInvalidMessageID = errors.New("the message id must be a ULID of 26 Crockford characters")
	// ErrInvalidConvoID: the id is neither a TID nor a group id. Unknown ids are answered
	// alike, so it is answered as ConvoNotFound.
	ErrInvalidConvoID = errors.New("the conversation id must be a TID or a group id")
	// ErrInvalidBase64: a text is not base64 in any of the four accepted forms. It is
	// answered by the error of what the text was to hold, or as InvalidRequest.
	ErrInvalidBase64 = errors.New("must be base64 (standard or URL alphabet, padded or not)")
	// ErrInvalidAsset is what an *InvalidAssetError unwraps to.
	ErrInvalidAsset = errors.New("invalid asset")
	// ErrMessageTooLarge: the ciphertext exceeds MaxPaddedSize.
	ErrMessageTooLarge = errors.New("the message exceeds 10 MiB")
	// ErrMessageIDConflict: the message id stands for another ciphertext already.
	ErrMessageIDConflict = errors.New("the message id is taken by another message")
	// ErrInvalidCursor: a cursor is malformed, of another conversation, or ahead of the log.
	ErrInvalidCursor = errors.New("invalid cursor")
	// ErrRateLimitExceeded is what a *RateLimitError unwraps to.
	ErrRateLimitExceeded = errors.New("rate limit exceeded")
	// ErrIdempotencyKeyReused: the key was used for a request with another body.
	ErrIdempotencyKeyReused = errors.New("the idempotency key was used for another request")
	// ErrReportNotFound: there is no such report, or the caller may not know of it.
	ErrReportNotFound = errors.New("report not found")
	// ErrAlreadyResolved: another admin resolved the report first.
	ErrAlreadyResolved = errors.New("the report is resolved already")
	// ErrBlockedByMember: a block stands between a new user and a present member.
	ErrBlockedByMember = errors.New("a block stands between a new user and a member")
	// ErrMutualBlockDetected: a block stands between two users of a new conversation.
	ErrMutualBlockDetected = errors.New("a block stands between two of the users")
	// ErrBlockNotVerified: the block source does not confirm what the caller says.
	ErrBlockNotVerified = errors.New("the block could not be verified")
	// ErrBlockSourceUnavailable: the block source is down and nothing fresh enough is known
	// (the contract's BlueskyServiceUnavailable).
	ErrBlockSourceUnavailable = errors.New("the block source is unavailable")
)

// EpochMismatchError says that a request or message was made for another epoch than the
// conversation is in. It unwraps to ErrEpochMismatch.
type EpochMismatchError struct {
	// Have is the epoch of the request or message.
	Have Epoch
	// Want is the conversation's epoch.
	Want Epoch
}

// Error names both epochs. A client that sees only the text can still catch up.
func (e *EpochMismatchError) Error() string {
	return "epoch mismatch: made for epoch " + strconv.FormatInt(int64(e.Have), 10) +
		", the conversation is at epoch " + strconv.FormatInt(int64(e.Want), 10)
}

// Unwrap returns ErrEpochMismatch.
func (e *EpochMismatchError) Unwrap() error { return ErrEpochMismatch }

// InvalidKeyPackageError says which check a key package failed. It unwraps to
// ErrInvalidKeyPackage and to its Code.
type InvalidKeyPackageError struct {
	// Index is the position in the request's list, from 0; -1 when the request has only one.
	Index int
	// Code is the check that failed.
	Code Code
}

// Error names the check and, in a list, the index.
func (e *InvalidKeyPackageError) Error() string {
	if e.Index < 0 {
		return "invalid key package: " + e.Code.String()
	}
	return "invalid key package at index " + strconv.Itoa(e.Index) + ": " + e.Code.String()
}

// Unwrap returns ErrInvalidKeyPackage and the code.
func (e *InvalidKeyPackageError) Unwrap() []error { return []error{ErrInvalidKeyPackage, e.Code} }

// InvalidCommitError says which rule a commit or a proposal breaks. It unwraps to
// ErrInvalidCommit and to its Code.
type InvalidCommitError struct {
	// Code is the rule that was broken.
	Code Code
}

// Error names the rule.
func (e *InvalidCommitError) Error() string { return "invalid commit: " + e.Code.String() }

// Unwrap returns ErrInvalidCommit and the code.
func (e *InvalidCommitError) Unwrap() []error { return []error{ErrInvalidCommit, e.Code} }

// InvalidWelcomeError says what is wrong with a Welcome. It unwraps to
// ErrInvalidWelcome and to its Code.
type InvalidWelcomeError struct {
	// Code is the check that failed.
	Code Code
}

// Error names the check.
func (e *InvalidWelcomeError) Error() string { return "invalid Welcome: " + e.Code.String() }

// Unwrap returns ErrInvalidWelcome and the code.
func (e *InvalidWelcomeError) Unwrap() []error { return []error{ErrInvalidWelcome, e.Code} }

// InvalidAssetError says what is wrong with a message's sizes or framing. It
// unwraps to ErrInvalidAsset.
type InvalidAssetError struct {
	// Problem is a fixed sentence without any value of the caller's.
	Problem string
}

// Error returns the problem.
func (e *InvalidAssetError) Error() string { return "invalid asset: " + e.Problem }

// Unwrap returns ErrInvalidAsset.
func (e *InvalidAssetError) Unwrap() error { return ErrInvalidAsset }

// RateLimitError says that a domain limit is used up (a rejoin, a claim, a report). It
// unwraps to ErrRateLimitExceeded.
type RateLimitError struct {
	// RetryAfter is when it is worth asking again, at least a second.
	RetryAfter time.Duration
}

// Error repeats the hint, since proxies drop headers.
func (e *RateLimitError) Error() string {
	s := int64((e.RetryAfter + time.Second - 1) / time.Second)
	return "rate limit exceeded: retry in " + strconv.FormatInt(max(s, 1), 10) + " s"
}

// Unwrap returns ErrRateLimitExceeded.
func (e *RateLimitError) Unwrap() error { return ErrRateLimitExceeded }
