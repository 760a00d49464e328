package csapi

import (
	"context"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
)

func (a *API) toDeviceRoutes() []row {
	return []row{
		{endpoint.SendToDevice, user(a.sendToDevice), limitToDevice},
	}
}

type sendToDeviceRequest struct {
	Type     string        `path:"eventType"`
	TxnID    string        `path:"txnId"`
	Messages e2ee.Messages `json:"messages"`
}

func (a *API) sendToDevice(ctx context.Context, caller account.Caller, req sendToDeviceRequest) (None, error) {
	if req.Messages == nil {
		return None{}, mxerr.MissingParam("Missing parameter messages")
	}
	return None{}, a.E2EE.SendToDevice(ctx, caller.User, caller.Device, req.TxnID, req.Type, req.Messages)
}
