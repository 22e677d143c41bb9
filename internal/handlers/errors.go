package handlers

import (
	"errors"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// names maps domain errors to the names that the lexicons declare. Statuses
// come from lexicons/policy.json; messages are the domain errors' own, which
// hold no identifier.
var names = []struct {
	err  error
	name string
}{
	{mls.ErrConvoNotFound, "ConvoNotFound"},
	{mls.ErrInvalidConvoID, "ConvoNotFound"},
	{mls.ErrNotMember, "NotMember"},
	{mls.ErrNotAdmin, "NotAdmin"},
	{mls.ErrNotAuthorized, "NotAuthorized"},
	{mls.ErrAlreadyMember, "AlreadyMember"},
	{mls.ErrAlreadyAdmin, "AlreadyAdmin"},
	{mls.ErrNotAdminTarget, "NotAdminTarget"},
	{mls.ErrLastAdmin, "LastAdmin"},
	{mls.ErrLastMember, "LastMember"},
	{mls.ErrCannotRemoveSelf, "CannotRemoveSelf"},
	{mls.ErrCannotReportSelf, "CannotReportSelf"},
	{mls.ErrTargetNotMember, "TargetNotMember"},
	{mls.ErrTooManyMembers, "TooManyMembers"},
	{mls.ErrTooManyDIDs, "TooManyDids"},
	{mls.ErrInvalidDID, "InvalidDid"},
	{mls.ErrTooManyDevices, "TooManyDevices"},
	{mls.ErrTooManyKeyPackages, "TooManyKeyPackages"},
	{mls.ErrDuplicatePublicKey, "DuplicatePublicKey"},
	{mls.ErrInvalidKeyPackage, "InvalidKeyPackage"},
	{mls.ErrKeyPackageNotFound, "KeyPackageNotFound"},
	{mls.ErrExpirationTooFar, "ExpirationTooFar"},
	{mls.ErrInvalidCipherSuite, "InvalidCipherSuite"},
	{mls.ErrInvalidGroupID, "InvalidGroupId"},
	{mls.ErrGroupAlreadyExists, "GroupAlreadyExists"},
	{mls.ErrEpochMismatch, "EpochMismatch"},
	{mls.ErrInvalidEpochRange, "InvalidEpochRange"},
	{mls.ErrInvalidCommit, "InvalidCommit"},
	{mls.ErrInvalidWelcome, "InvalidRequest"},
	{mls.ErrWelcomeNotFound, "WelcomeNotFound"},
	{mls.ErrInvalidMessageID, "InvalidRequest"},
	{mls.ErrInvalidBase64, "InvalidRequest"},
	{mls.ErrInvalidAsset, "InvalidAsset"},
	{mls.ErrMessageTooLarge, "MessageTooLarge"},
	{mls.ErrMessageIDConflict, "MessageIdConflict"},
	{mls.ErrInvalidCursor, "InvalidCursor"},
	{mls.ErrRateLimitExceeded, "RateLimitExceeded"},
	{mls.ErrIdempotencyKeyReused, "IdempotencyKeyReused"},
	{store.ErrRequestInProgress, "IdempotencyInProgress"},
	{store.ErrBusy, "NotEnoughResources"},
	{mls.ErrReportNotFound, "ReportNotFound"},
	{mls.ErrAlreadyResolved, "AlreadyResolved"},
	{mls.ErrBlockedByMember, "BlockedByMember"},
	{mls.ErrMutualBlockDetected, "MutualBlockDetected"},
	{mls.ErrBlockNotVerified, "BlockNotVerified"},
	{mls.ErrBlockSourceUnavailable, "BlueskyServiceUnavailable"},
	{errInvalidInput, "InvalidRequest"},
}

// errInvalidInput is what an *inputError unwraps to.
var errInvalidInput = errors.New("invalid request")

// inputError is a rule that the lexicon language cannot express.
type inputError struct{ pointer, problem string }

func (e *inputError) Error() string { return "invalid body: " + e.pointer + " " + e.problem }
func (e *inputError) Unwrap() error { return errInvalidInput }

// PublicError gives an error of a handler the name and status that clients
// know, or returns nil for one that must stay inside the server.
func PublicError(err error) *lexrt.Error {
	for _, n := range names {
		if !errors.Is(err, n.err) {
			continue
		}
		e := &lexrt.Error{Name: n.name, Status: mlsapi.ErrorStatus(n.name), Message: domainText(err, n.err)}
		if limit, ok := errors.AsType[*mls.RateLimitError](err); ok {
			e.RetryAfter = limit.RetryAfter
		}
		if n.name == "IdempotencyInProgress" || n.name == "NotEnoughResources" {
			e.RetryAfter = time.Second
		}
		return e
	}
	return nil
}

// domainText returns the text of the domain error inside err: what wraps it may
// come from a driver and quote values.
func domainText(err, sentinel error) string {
	var (
		epoch   *mls.EpochMismatchError
		kp      *mls.InvalidKeyPackageError
		commit  *mls.InvalidCommitError
		welcome *mls.InvalidWelcomeError
		asset   *mls.InvalidAssetError
		limit   *mls.RateLimitError
		input   *inputError
	)
	switch {
	case errors.As(err, &epoch):
		return epoch.Error()
	case errors.As(err, &kp):
		return kp.Error()
	case errors.As(err, &commit):
		return commit.Error()
	case errors.As(err, &welcome):
		return welcome.Error()
	case errors.As(err, &asset):
		return asset.Error()
	case errors.As(err, &limit):
		return limit.Error()
	case errors.As(err, &input):
		return input.Error()
	case errors.Is(err, mls.ErrInvalidConvoID):
		return mls.ErrConvoNotFound.Error() // what cannot exist is answered like what does not
	}
	return sentinel.Error()
}
