package csapi

import (
	"context"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/clientsync"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
)

func (a *API) syncRoutes() []row {
	return []row{
		{endpoint.Sync, user(a.sync), limitSync},
	}
}

type syncRequest struct {
	Filter     string `query:"filter"`
	Since      string `query:"since"`
	FullState  bool   `query:"full_state"`
	Presence   string `query:"set_presence"`
	Timeout    int64  `query:"timeout"` // ms
	StateAfter bool   `query:"use_state_after"`
	MSC4222    bool   `query:"org.matrix.msc4222.use_state_after"`
}

// sync tells a device what has happened. CS v1.16 #get_matrixclientv3sync
func (a *API) sync(ctx context.Context, caller account.Caller, req syncRequest) (web.Raw, error) {
	switch req.Presence {
	case "", "online", "offline", "unavailable":
	default:
		return nil, mxerr.InvalidParam("Unknown presence")
	}
	ask := clientsync.Request{
		User: caller.User, Device: caller.Device, Filter: req.Filter, Since: req.Since, FullState: req.FullState,
		Presence: req.Presence, Timeout: time.Duration(min(max(req.Timeout, 0), maxSyncTimeout)) * time.Millisecond,
	}
	switch {
	case req.StateAfter:
		ask.StateAfter = clientsync.StateAfterStable
	case req.MSC4222:
		ask.StateAfter = clientsync.StateAfterUnstable
	}
	body, err := a.Sync.Sync(ctx, ask)
	return web.Raw(body), err
}

// maxSyncTimeout keeps the arithmetic from overflowing; the syncer waits less. In ms.
const maxSyncTimeout = 24 * 60 * 60 * 1000
