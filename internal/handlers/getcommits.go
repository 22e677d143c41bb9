package handlers

import (
	"context"
	"strconv"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// commitPage is how many commits an answer holds at most.
const commitPage = 500

// GetCommits lists commits by the epoch in which they were made, from the
// caller's join on. The cursor is the epoch of the next commit.
func (h *Handlers) GetCommits(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetCommitsParams) (*mlsapi.GetCommitsOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	page, err := h.Store.ListCommits(ctx, key, caller.DID, store.CommitRange{
		From: mls.Epoch(params.FromEpoch), To: (*mls.Epoch)(params.ToEpoch), Limit: commitPage,
	})
	if err != nil {
		return nil, err
	}
	out := &mlsapi.GetCommitsOutput{ConvoID: string(page.FirstGroup), Commits: commitViews(page.Commits)}
	if page.Next != nil {
		next := strconv.FormatInt(int64(*page.Next), 10)
		out.Cursor = &next
	}
	return out, nil
}
