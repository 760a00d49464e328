package ssapi

import (
	"context"
	"encoding/json"

	"konsil/kit/web"
	"konsil/matrix/id"
)

type transactionRequest struct {
	TxnID string          `path:"txnId"`
	Body  json.RawMessage `body:"raw"`
}

// send takes a transaction. SS v1.16 #put_matrixfederationv1sendtxnid
func (a *API) send(ctx context.Context, origin id.ServerName, req transactionRequest) (web.Raw, error) {
	answer, err := a.cfg.Federation.Transaction(ctx, origin, req.TxnID, req.Body)
	return answer, err
}
