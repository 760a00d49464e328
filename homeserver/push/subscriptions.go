package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Thread names a thread by the event it began with.
type Thread struct {
	Room id.RoomID
	Root id.EventID
}

// Subscribe notes that a user wants to hear of a thread. cause is the event for which their client did that by itself, "" when
// it was the user's wish. The push rules that would make use of it are not among the default ones: who has a client that does
// not subscribe would hear of no thread any more. MSC4306
func (k *Keeper) Subscribe(ctx context.Context, user id.UserID, t Thread, cause id.EventID) error {
	if _, err := k.cfg.Rooms.EventOf(ctx, user, t.Room, t.Root); err != nil {
		return err
	}
	var since int64
	if cause != "" {
		ev, err := k.causeOf(ctx, user, t, cause)
		if err != nil {
			return err
		}
		since = ev.Pos
	}
	return k.setSubscription(ctx, user, t, func(now store.ThreadSubscription) (bool, error) {
		switch {
		case cause == "":
			return !now.Subscribed || now.Automatic, nil
		case now.Subscribed:
			return false, nil // the user's own wish weighs more, and the client's first one is as good as its second
		case now.Pos != 0 && now.Pos > since:
			return false, mxerr.New(http.StatusConflict, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
				"The thread was unsubscribed after this event")
		}
		return true, nil
	}, store.ThreadSubscription{Subscribed: true, Automatic: cause != ""})
}

// causeOf reads the event that made a client subscribe: one of the thread, and not its root.
func (k *Keeper) causeOf(ctx context.Context, user id.UserID, t Thread, cause id.EventID) (*room.Event, error) {
	refusal := mxerr.New(http.StatusBadRequest, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "The event is not in the thread")
	ev, err := k.cfg.Rooms.EventOf(ctx, user, t.Room, cause)
	if errors.Is(err, room.ErrUnknownEvent) {
		return nil, refusal
	}
	if err != nil {
		return nil, err
	}
	rel, _ := canonical.GetString(ev.Content, "m.relates_to", "rel_type")
	root, _ := canonical.GetString(ev.Content, "m.relates_to", "event_id")
	if rel != "m.thread" || id.EventID(root) != t.Root {
		return nil, refusal
	}
	return ev, nil
}

// Unsubscribe ends a subscription; one that is not there is no error. MSC4306
func (k *Keeper) Unsubscribe(ctx context.Context, user id.UserID, t Thread) error {
	if _, err := k.cfg.Rooms.EventOf(ctx, user, t.Room, t.Root); err != nil {
		return err
	}
	return k.setSubscription(ctx, user, t, func(now store.ThreadSubscription) (bool, error) { return now.Subscribed, nil }, store.ThreadSubscription{})
}

// setSubscription stores next if change says so of what there is.
func (k *Keeper) setSubscription(ctx context.Context, user id.UserID, t Thread,
	change func(now store.ThreadSubscription) (bool, error), next store.ThreadSubscription) error {
	next.Room, next.Root = t.Room, t.Root
	changed := false
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.ThreadSubscription(ctx, user, t.Room, t.Root)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("read a thread's subscription: %w", err)
		}
		if changed, err = change(now); err != nil || !changed {
			return err
		}
		return tx.PutThreadSubscription(ctx, user, next)
	})
	if err == nil && changed {
		k.cfg.Notify.Wake(notify.Change{Pos: k.cfg.Store.Position(), Users: []id.UserID{user}, Kind: notify.Account})
	}
	return err
}

// Subscription says whether a user is subscribed to a thread, and whether that was their client's doing; M_NOT_FOUND if they
// are not. MSC4306
func (k *Keeper) Subscription(ctx context.Context, user id.UserID, t Thread) (automatic bool, err error) {
	if _, err := k.cfg.Rooms.EventOf(ctx, user, t.Room, t.Root); err != nil {
		return false, err
	}
	var s store.ThreadSubscription
	err = k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		s, err = tx.ThreadSubscription(ctx, user, t.Room, t.Root)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !s.Subscribed {
		return false, mxerr.NotFound("You are not subscribed to this thread")
	}
	return s.Automatic, err
}
