package store

import (
	"context"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Export hands over what an account may have of what is kept about it, but for messages: a JSON
// object a line, each with its kind in the member "record". It begins with the one of kind
// "account". An error of emit ends it.
func (r *reader) Export(ctx context.Context, user mls.DID, emit func(line string) error) error {
	for _, list := range []func(context.Context) ([]string, error){
		func(ctx context.Context) ([]string, error) { return r.q.ExportAccount(ctx, string(user)) },
		of(r.q, (*db.Queries).ExportDevices, user),
		of(r.q, (*db.Queries).ExportDeletedDevices, user),
		of(r.q, (*db.Queries).ExportKeyPackages, user),
		of(r.q, (*db.Queries).ExportConversations, user),
		of(r.q, (*db.Queries).ExportCommits, user),
		of(r.q, (*db.Queries).ExportResets, user),
		of(r.q, (*db.Queries).ExportWelcomes, user),
		of(r.q, (*db.Queries).ExportRequests, user),
		of(r.q, (*db.Queries).ExportRemovals, user),
		of(r.q, (*db.Queries).ExportCommitReports, user),
		of(r.q, (*db.Queries).ExportReports, user),
		of(r.q, (*db.Queries).ExportActions, user),
		of(r.q, (*db.Queries).ExportInvitations, user),
		func(ctx context.Context) ([]string, error) { return r.q.ExportSendKeys(ctx, string(user)) },
		of(r.q, (*db.Queries).ExportBlocks, user),
		func(ctx context.Context) ([]string, error) { return r.q.ExportOperatorActions(ctx, string(user)) },
	} {
		lines, err := list(ctx)
		if err != nil {
			return fail("export", err)
		}
		for _, line := range lines {
			if err := emit(line); err != nil {
				return err
			}
		}
	}
	return nil
}

func of(q *db.Queries, list func(*db.Queries, context.Context, mls.DID) ([]string, error), user mls.DID) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) { return list(q, ctx, user) }
}

// ListMemberships is the conversations that an account is in, or was.
func (r *reader) ListMemberships(ctx context.Context, user mls.DID) ([]mls.ConvoID, error) {
	ids, err := r.q.ListMemberships(ctx, user)
	return ids, fail("list memberships", err)
}
