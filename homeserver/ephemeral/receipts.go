package ephemeral

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// The kinds of receipts, and the marker that is none. CS v1.16 #receipts
const (
	Read        = "m.read"
	ReadPrivate = "m.read.private"
	FullyRead   = "m.fully_read"
)

// MainThread is the thread of what is in no thread. CS v1.16 #threaded-read-receipts
const MainThread = "main"

const maxReceipts = 1000 // in one EDU

// SetReceipt notes how far a user of ours has read. An older receipt never replaces a newer one.
// CS v1.16 #post_matrixclientv3roomsroomidreceiptreceipttypeeventid
func (k *Keeper) SetReceipt(ctx context.Context, roomID id.RoomID, user id.UserID, kind, thread string, ev id.EventID) error {
	if in, err := k.joined(ctx, roomID, user); err != nil || !in {
		if err == nil {
			err = mxerr.Forbidden("You are not in this room")
		}
		return err
	}
	if kind == FullyRead {
		if thread != "" {
			return mxerr.InvalidParam("m.fully_read knows no threads")
		}
		return k.setFullyRead(ctx, roomID, user, ev)
	}
	if kind != Read && kind != ReadPrivate {
		return mxerr.InvalidParam("Unknown receipt type")
	}
	event, err := k.eventIn(ctx, roomID, ev)
	if err != nil {
		return err
	}
	if thread != "" && thread != MainThread {
		root, err := id.ParseEventID(thread)
		if err != nil {
			return mxerr.InvalidParam("thread_id is neither \"main\" nor an event")
		}
		if _, err := k.eventIn(ctx, roomID, root); err != nil {
			return mxerr.InvalidParam("thread_id is no event of this room")
		}
	}
	k.Active(ctx, user)
	r := store.Receipt{Room: roomID, User: user, Kind: kind, Thread: thread, Event: ev, TS: clock.Millis(k.Clock)}
	newer, err := k.isNewer(ctx, r, event)
	if err != nil || !newer {
		return err
	}
	return k.store(ctx, []store.Receipt{r}, true)
}

// eventIn finds an event of the room.
func (k *Keeper) eventIn(ctx context.Context, roomID id.RoomID, ev id.EventID) (*room.Event, error) {
	event, err := k.Rooms.Event(ctx, ev)
	if err == nil && event.RoomID != roomID {
		return nil, room.ErrUnknownEvent
	}
	return event, err
}

// isNewer reports whether a receipt is further on than the one that is stored. What can not be compared counts as further.
func (k *Keeper) isNewer(ctx context.Context, r store.Receipt, event *room.Event) (bool, error) {
	var before store.Receipt
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		before, err = tx.Receipt(ctx, r.Room, r.User, r.Kind, r.Thread)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read a receipt: %w", err)
	}
	return k.follows(ctx, event, before.Event)
}

// follows reports whether an event comes after another in the room's order.
func (k *Keeper) follows(ctx context.Context, event *room.Event, other id.EventID) (bool, error) {
	if event.ID == other {
		return false, nil
	}
	older, err := k.Rooms.Event(ctx, other)
	if errors.Is(err, room.ErrUnknownEvent) || err == nil && (older.RoomID != event.RoomID || older.Pos == 0 || event.Pos == 0) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the event of a receipt: %w", err)
	}
	return event.Pos > older.Pos, nil
}

// setFullyRead moves the marker that only its user sees; it is account data of the room. CS v1.16 #fully-read-markers
func (k *Keeper) setFullyRead(ctx context.Context, roomID id.RoomID, user id.UserID, ev id.EventID) error {
	event, err := k.eventIn(ctx, roomID, ev)
	if err != nil {
		return err
	}
	content, err := k.Accounts.AccountData(ctx, user, roomID, FullyRead)
	if err == nil {
		if before, ok := canonical.GetString(content, "event_id"); ok {
			if newer, err := k.follows(ctx, event, id.EventID(before)); err != nil || !newer {
				return err
			}
		}
	} else if !mxerr.Is(err, mxerr.CodeNotFound) {
		return err
	}
	marker, err := json.Marshal(map[string]id.EventID{"event_id": ev})
	if err != nil {
		return err
	}
	return k.Accounts.PutAccountData(ctx, user, roomID, FullyRead, marker)
}

// store writes receipts and wakes those who see them.
func (k *Keeper) store(ctx context.Context, receipts []store.Receipt, local bool) error {
	var pos int64
	err := k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		for _, r := range receipts {
			if pos, err = tx.SetReceipt(ctx, r, local); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store receipts: %w", err)
	}
	change := notify.Change{Pos: pos, Kind: notify.Ephemeral}
	for _, r := range receipts {
		if r.Kind == Read {
			change.Rooms = append(change.Rooms, r.Room)
		}
		if local {
			change.Users = append(change.Users, r.User)
		}
	}
	if local && len(change.Rooms) > 0 {
		change.Kind |= notify.Outgoing
	}
	k.Notify.Wake(change)
	return nil
}

// ReceiveReceipts takes an m.receipt EDU. Receipts of users that are not the sending server's or not in the room are dropped
// (A24), as are those of kinds that are nobody else's business. SS v1.16 #receipts
func (k *Keeper) ReceiveReceipts(ctx context.Context, origin id.ServerName, content []byte) error {
	var receipts []store.Receipt
	_ = canonical.Object(content, func(name string, byKind []byte) error {
		roomID, err := id.ParseRoomID(name)
		if err != nil {
			return nil
		}
		byUser, _ := canonical.Get(byKind, Read)
		return canonical.Object(byUser, func(who string, value []byte) error {
			if len(receipts) >= maxReceipts {
				return canonical.ErrValue
			}
			if r, ok := parseReceipt(roomID, who, value); ok && r.User.Server() == origin {
				receipts = append(receipts, r)
			}
			return nil
		})
	})
	var good []store.Receipt
	for _, r := range receipts {
		if in, err := k.joined(ctx, r.Room, r.User); err != nil || !in {
			if err != nil && !errors.Is(err, room.ErrUnknownRoom) {
				return err
			}
			continue
		}
		good = append(good, r)
	}
	if len(good) == 0 {
		return nil
	}
	return k.store(ctx, good, false)
}

func parseReceipt(roomID id.RoomID, who string, value []byte) (store.Receipt, bool) {
	r := store.Receipt{Room: roomID, Kind: Read}
	var err error
	if r.User, err = id.ParseUserID(who); err != nil {
		return r, false
	}
	events, _ := canonical.Get(value, "event_ids")
	_ = canonical.Array(events, func(value []byte) error {
		name, _ := canonical.String(value)
		if ev, err := id.ParseEventID(name); err == nil && r.Event == "" {
			r.Event = ev
		}
		return nil
	})
	r.TS, _ = canonical.GetInt(value, "data", "ts")
	if thread, ok := canonical.GetString(value, "data", "thread_id"); ok {
		if _, err := id.ParseEventID(thread); err != nil && thread != MainThread {
			return r, false
		}
		r.Thread = thread
	}
	return r, r.Event != ""
}

// ReceiptEvent writes the m.receipt event for /sync of receipts of one room, in the order store.Tx.Receipts gives them. Where a
// user has read an event both inside and outside of a thread, the latter counts: there is room for one. MSC4102
func ReceiptEvent(receipts []store.Receipt) []byte {
	if len(receipts) == 0 {
		return nil
	}
	b := make([]byte, 0, 64+160*len(receipts))
	b = append(b, `{"content":{`...)
	var last store.Receipt
	for i, r := range receipts {
		sameEvent := i > 0 && r.Event == last.Event
		sameKind := sameEvent && r.Kind == last.Kind
		switch {
		case sameKind && r.User == last.User:
			continue // the unthreaded one comes first
		case sameKind:
			b = append(b, ',')
		case sameEvent:
			b = append(b, `},`...)
		case i > 0:
			b = append(b, `}},`...)
		}
		if !sameEvent {
			b = append(canonical.AppendString(b, r.Event), `:{`...)
		}
		if !sameKind {
			b = append(canonical.AppendString(b, r.Kind), `:{`...)
		}
		b = append(canonical.AppendString(b, r.User), `:{`...)
		if r.Thread != "" {
			b = append(canonical.AppendString(append(b, `"thread_id":`...), r.Thread), ',')
		}
		b = append(strconv.AppendInt(append(b, `"ts":`...), r.TS, 10), '}')
		last = r
	}
	return append(b, `}}},"type":"m.receipt"}`...)
}
