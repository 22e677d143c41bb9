package handlers

import (
	"errors"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// wireError is the one table of names: what clients are told about a kind of domain error. Names
// and statuses are the lexicons' or general ones, so that one that does not exist does not
// compile; the linter finds a kind that is left out, which must not be hidden by a default.
func wireError(kind mls.Kind) *lexrt.Error {
	switch kind {
	// what cannot exist is answered like what does not
	case mls.ErrConvoNotFound, mls.ErrInvalidConvoID:
		return mlsapi.ErrConvoNotFound
	case mls.ErrNotMember:
		return mlsapi.ErrNotMember
	case mls.ErrNotAdmin:
		return mlsapi.ErrNotAdmin
	case mls.ErrNotAuthorized:
		return mlsapi.ErrNotAuthorized
	case mls.ErrAlreadyMember:
		return mlsapi.ErrAlreadyMember
	case mls.ErrAlreadyAdmin:
		return mlsapi.ErrAlreadyAdmin
	case mls.ErrNotAdminTarget:
		return mlsapi.ErrNotAdminTarget
	case mls.ErrLastAdmin:
		return mlsapi.ErrLastAdmin
	case mls.ErrLastMember:
		return mlsapi.ErrLastMember
	case mls.ErrCannotRemoveSelf:
		return mlsapi.ErrCannotRemoveSelf
	case mls.ErrCannotReportSelf:
		return mlsapi.ErrCannotReportSelf
	case mls.ErrTargetNotMember:
		return mlsapi.ErrTargetNotMember
	case mls.ErrTooManyMembers:
		return mlsapi.ErrTooManyMembers
	case mls.ErrTooManyDIDs:
		return mlsapi.ErrTooManyDIDs
	case mls.ErrInvalidDID:
		return mlsapi.ErrInvalidDID
	case mls.ErrTooManyDevices:
		return mlsapi.ErrTooManyDevices
	case mls.ErrDeviceNotFound:
		return mlsapi.ErrDeviceNotFound
	case mls.ErrDeviceIDTaken:
		return mlsapi.ErrDeviceIDTaken
	case mls.ErrDeviceProofRequired:
		return mlsapi.ErrDeviceProofRequired
	case mls.ErrTooManyKeyPackages:
		return mlsapi.ErrTooManyKeyPackages
	case mls.ErrDuplicatePublicKey:
		return mlsapi.ErrDuplicatePublicKey
	case mls.ErrInvalidKeyPackage:
		return mlsapi.ErrInvalidKeyPackage
	case mls.ErrKeyPackageNotFound:
		return mlsapi.ErrKeyPackageNotFound
	case mls.ErrExpirationTooFar:
		return mlsapi.ErrExpirationTooFar
	case mls.ErrInvalidCipherSuite:
		return mlsapi.ErrInvalidCipherSuite
	case mls.ErrInvalidGroupID:
		return mlsapi.ErrInvalidGroupID
	case mls.ErrGroupAlreadyExists:
		return mlsapi.ErrGroupAlreadyExists
	case mls.ErrEpochMismatch:
		return mlsapi.ErrEpochMismatch
	case mls.ErrCommitNotFound:
		return mlsapi.ErrCommitNotFound
	case mls.ErrCommitVoid:
		return mlsapi.ErrCommitVoid
	case mls.ErrInvalidEpochRange:
		return mlsapi.ErrInvalidEpochRange
	case mls.ErrInvalidCommit:
		return mlsapi.ErrInvalidCommit
	case mls.ErrInvalidGroupInfo:
		return mlsapi.ErrInvalidGroupInfo
	case mls.ErrGroupInfoRequired:
		return mlsapi.ErrGroupInfoRequired
	case mls.ErrGroupInfoUnavailable:
		return mlsapi.ErrGroupInfoUnavailable
	case mls.ErrExternalJoinNotAllowed:
		return mlsapi.ErrExternalJoinNotAllowed
	case mls.ErrGroupReinitialized:
		return mlsapi.ErrGroupReinitialized
	case mls.ErrGroupReset:
		return mlsapi.ErrGroupReset
	case mls.ErrWelcomeMismatch:
		return mlsapi.ErrWelcomeMismatch
	case mls.ErrWelcomeNotFound:
		return mlsapi.ErrWelcomeNotFound
	case mls.ErrInvalidAsset:
		return mlsapi.ErrInvalidAsset
	case mls.ErrMessageTooLarge:
		return mlsapi.ErrMessageTooLarge
	case mls.ErrMessageIDConflict:
		return mlsapi.ErrMessageIDConflict
	case mls.ErrInvalidCursor:
		return mlsapi.ErrInvalidCursor
	case mls.ErrReportNotFound:
		return mlsapi.ErrReportNotFound
	case mls.ErrAlreadyResolved:
		return mlsapi.ErrAlreadyResolved
	case mls.ErrBlockedByMember:
		return mlsapi.ErrBlockedByMember
	case mls.ErrMutualBlockDetected:
		return mlsapi.ErrMutualBlockDetected
	case mls.ErrBlockNotVerified:
		return mlsapi.ErrBlockNotVerified
	case mls.ErrBlockSourceUnavailable:
		return mlsapi.ErrBlueskyServiceUnavailable
	case mls.ErrInvalidInput, mls.ErrInvalidWelcome, mls.ErrInvalidMessageID, mls.ErrInvalidBase64:
		return lexrt.ErrInvalidRequest
	case mls.ErrRateLimitExceeded:
		return lexrt.ErrRateLimitExceeded
	case mls.ErrTooManyInvitations:
		return mlsapi.ErrTooManyInvitations
	case mls.ErrConsumerTooSlow:
		return mlsapi.ErrConsumerTooSlow
	case mls.ErrIdempotencyKeyReused:
		return lexrt.ErrIdempotencyKeyReused
	case mls.ErrRequestInProgress:
		return lexrt.ErrIdempotencyInProgress
	case mls.ErrBusy:
		return lexrt.ErrNotEnoughResources
	}
	return nil
}

// PublicError gives an error of a handler the name and status that clients know, or returns nil
// for one that must stay inside the server. The text is the domain error's alone: what wraps it
// may come from a driver and quote values.
func PublicError(err error) *lexrt.Error {
	domain := mls.AsError(err)
	if domain == nil {
		return nil
	}
	named := wireError(domain.Kind)
	if named == nil {
		return nil
	}
	public := named.WithMessage(domain.Error())
	public.RetryAfter = domain.RetryAfter
	if reset, ok := errors.AsType[*delivery.GroupError](err); ok {
		public.Message, public.Details = reset.Error(), &mlsapi.DefsGroupReset{
			GroupID: string(reset.GroupID), Generation: int64(reset.Generation), Epoch: int64(reset.Epoch),
		}
	}
	if conflict, ok := errors.AsType[*delivery.ConflictError](err); ok {
		public.Message, public.Details = conflict.Error(), &mlsapi.DefsEpochConflict{
			Epoch: int64(conflict.Epoch), CommitID: optional(conflict.CommitID), Commits: commitViews(conflict.Commits), RetryAfterMs: conflict.RetryAfter.Milliseconds(),
		}
	}
	return public
}
