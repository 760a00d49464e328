package csapi

import (
	"context"

	"konsil/homeserver/account"
	"konsil/homeserver/push"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

// threadSubscriptionRoutes are those of MSC4306.
func (a *API) threadSubscriptionRoutes() []row {
	return []row{
		{endpoint.GetThreadSubscription, user(a.threadSubscription), limitRead},
		{endpoint.SubscribeThread, user(a.subscribeThread), limitWrite},
		{endpoint.UnsubscribeThread, user(a.unsubscribeThread), limitWrite},
	}
}

type threadPath struct {
	Room id.RoomID  `path:"roomId"`
	Root id.EventID `path:"eventId"`
}

func (p threadPath) thread() push.Thread { return push.Thread{Room: p.Room, Root: p.Root} }

type threadSubscription struct {
	Automatic bool `json:"automatic"`
}

func (a *API) threadSubscription(ctx context.Context, caller account.Caller, req threadPath) (threadSubscription, error) {
	automatic, err := a.Push.Subscription(ctx, caller.User, req.thread())
	return threadSubscription{automatic}, err
}

type subscribeRequest struct {
	threadPath
	Automatic id.EventID `json:"automatic"` // the event for which the client does it by itself
}

func (a *API) subscribeThread(ctx context.Context, caller account.Caller, req subscribeRequest) (None, error) {
	return None{}, a.Push.Subscribe(ctx, caller.User, req.thread(), req.Automatic)
}

func (a *API) unsubscribeThread(ctx context.Context, caller account.Caller, req threadPath) (None, error) {
	return None{}, a.Push.Unsubscribe(ctx, caller.User, req.thread())
}
