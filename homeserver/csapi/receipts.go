package csapi

import (
	"context"

	"konsil/homeserver/account"
	"konsil/homeserver/ephemeral"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) receiptRoutes() []row {
	return []row{
		{endpoint.SetReadMarker, user(a.setReadMarkers), limitWrite},
		{endpoint.PostReceipt, user(a.postReceipt), limitWrite},
	}
}

type receiptRequest struct {
	Room   id.RoomID  `path:"roomId"`
	Kind   string     `path:"receiptType"`
	Event  id.EventID `path:"eventId"`
	Thread *string    `json:"thread_id"`
}

func (a *API) postReceipt(ctx context.Context, caller account.Caller, req receiptRequest) (None, error) {
	thread := ""
	if req.Thread != nil {
		if thread = *req.Thread; thread == "" {
			// CS v1.16 #post_matrixclientv3roomsroomidreceiptreceipttypeeventid
			return None{}, mxerr.InvalidParam("thread_id is empty")
		}
	}
	return None{}, a.Ephemeral.SetReceipt(ctx, req.Room, caller.User, req.Kind, thread, req.Event)
}

type readMarkersRequest struct {
	Room        id.RoomID   `path:"roomId"`
	FullyRead   *id.EventID `json:"m.fully_read"`
	Read        *id.EventID `json:"m.read"`
	ReadPrivate *id.EventID `json:"m.read.private"`
}

// setReadMarkers sets several at once. CS v1.16 #post_matrixclientv3roomsroomidread_markers
func (a *API) setReadMarkers(ctx context.Context, caller account.Caller, req readMarkersRequest) (None, error) {
	for _, marker := range []struct {
		kind string
		at   *id.EventID
	}{{ephemeral.Read, req.Read}, {ephemeral.ReadPrivate, req.ReadPrivate}, {ephemeral.FullyRead, req.FullyRead}} {
		if marker.at == nil {
			continue
		}
		if err := a.Ephemeral.SetReceipt(ctx, req.Room, caller.User, marker.kind, "", *marker.at); err != nil {
			return None{}, err
		}
	}
	return None{}, nil
}
