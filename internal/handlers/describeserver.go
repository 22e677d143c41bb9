package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// DescribeServer says what the service is and what it accepts.
func (h *Handlers) DescribeServer(context.Context, lexrt.Caller) (*mlsapi.DescribeServerOutput, error) {
	return h.Description, nil
}
