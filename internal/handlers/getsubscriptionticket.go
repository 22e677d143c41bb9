package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// GetSubscriptionTicket makes a ticket. Whether the caller is in the conversation is judged again
// when the ticket is used.
func (h *Handlers) GetSubscriptionTicket(ctx context.Context, caller lexrt.Caller, in *mlsapi.GetSubscriptionTicketInput) (*mlsapi.GetSubscriptionTicketOutput, error) {
	convo := ""
	if in.ConvoID != nil {
		convo = *in.ConvoID
		key, err := mls.ParseConvoKey(convo)
		if err != nil {
			return nil, err
		}
		if _, err := h.Store.RequireMember(ctx, key, caller.DID); err != nil {
			return nil, err
		}
	}
	ticket, expires, err := h.Tickets.Issue(caller.DID, convo)
	if err != nil {
		return nil, mls.InvalidInput("", "has no ticket: the account's DID is too long for one; send a token in the Authorization header")
	}
	return &mlsapi.GetSubscriptionTicketOutput{Ticket: ticket, Endpoint: h.Config.Subscription, ExpiresAt: datetime(expires)}, nil
}
