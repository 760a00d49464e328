package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/notice"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

// serverNoticeRoutes are Synapse's, which the operators' tools speak: the specification leaves it open how notices are sent.
func (a *API) serverNoticeRoutes() []row {
	if a.Notices == nil {
		return nil
	}
	return []row{
		{endpoint.SendServerNotice, admin(a.sendServerNotice), limitWrite},
		{endpoint.SendServerNoticeWithTxn, admin(a.sendServerNotice), limitWrite},
	}
}

type serverNoticeRequest struct {
	TxnID    string          `path:"txnId"`
	User     id.UserID       `json:"user_id" bind:"required"`
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key"`
	Content  json.RawMessage `json:"content" bind:"required"`
}

func (a *API) sendServerNotice(ctx context.Context, caller account.Caller, req serverNoticeRequest) (eventIDResponse, error) {
	sent, err := a.Notices.Send(ctx, notice.Notice{
		User: req.User, Type: req.Type, StateKey: req.StateKey, Content: req.Content, Admin: caller.User, TxnID: req.TxnID,
	})
	return eventIDResponse{sent}, err
}
