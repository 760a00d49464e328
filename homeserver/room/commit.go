package room

import (
	"encoding/json"
	"errors"
	"slices"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// errTxnStored says that a client transaction of the batch is stored already.
var errTxnStored = errors.New("client transaction is known")

// commit stores a batch in one transaction. The events get their positions in it.
func (e *Engine) commit(b *batch) error {
	if b.changesStored() {
		e.events.updates.Add(1)
	}
	return e.store.Write(b.ctx, func(tx *store.Tx) error { return b.flush(tx) })
}

// changesStored reports whether events that were stored before get new values.
func (b *batch) changesStored() bool {
	return slices.ContainsFunc(b.writes, func(w *write) bool { return w.place || w.redacts != nil })
}

// flush may run again: it assigns positions anew.
func (b *batch) flush(tx *store.Tx) error {
	ctx := b.ctx
	for _, s := range b.slots {
		if err := tx.InsertSlot(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range b.snaps {
		if err := tx.InsertSnapshot(ctx, *s); err != nil {
			return err
		}
	}
	if b.rebuilt {
		if err := tx.ClearCurrentState(ctx, b.head.nid); err != nil {
			return err
		}
	}
	for _, w := range b.writes {
		if err := b.flushEvent(tx, w); err != nil {
			return err
		}
	}
	save := b.flushNew
	if b.known {
		save = func(tx *store.Tx) error { return tx.UpdateRoom(ctx, b.head.row()) }
	}
	if err := save(tx); err != nil {
		return err
	}
	if b.also != nil {
		return b.also(ctx, tx)
	}
	return nil
}

// flushNew stores what only a new room has.
func (b *batch) flushNew(tx *store.Tx) error {
	row := b.head.row()
	row.Published = b.published
	if err := tx.InsertRoom(b.ctx, row); err != nil {
		return err
	}
	if b.alias != nil {
		if free, err := tx.InsertAlias(b.ctx, *b.alias); err != nil {
			return err
		} else if !free {
			return mxerr.RoomInUse()
		}
	}
	return nil
}

func (b *batch) flushEvent(tx *store.Tx, w *write) error {
	ctx, ev := b.ctx, w.ev
	if w.live {
		ev.Pos = tx.NextPosition()
		b.head.lastPos = ev.Pos
		b.e.recent.set(b.head.room, ev.Pos)
	}
	row := ev.row()
	if w.place {
		if err := tx.PlaceEvent(ctx, &row); err != nil {
			return err
		}
	} else if stored, err := tx.InsertEvent(ctx, &row); err != nil {
		return err
	} else if !stored {
		return errTxnStored
	}
	for _, c := range w.changes {
		if err := b.flushChange(tx, w, c); err != nil {
			return err
		}
	}
	if w.guest != nil {
		if err := b.flushGuest(tx, w); err != nil {
			return err
		}
	}
	return b.flushBeside(tx, w)
}

// flushBeside stores relation, redaction and backward extremities of an event.
func (b *batch) flushBeside(tx *store.Tx, w *write) error {
	ctx, ev := b.ctx, w.ev
	if w.relation != nil {
		if err := tx.AddRelation(ctx, *w.relation); err != nil {
			return err
		}
	}
	if r := w.redacts; r != nil {
		if err := tx.RedactEvent(ctx, r.ev.NID, r.by, r.ev.JSON); err != nil {
			return err
		}
		if r.ev.Type == event.TypeMember && b.head.state.get(r.ev.SlotNID) == r.ev.NID {
			// The name it gave is gone with it.
			member := store.MemberRow{User: id.UserID(*r.ev.StateKey), Membership: store.ParseMembership(r.ev.Membership()), Event: r.ev.NID}
			if err := tx.SetMembership(ctx, b.head.nid, member); err != nil {
				return err
			}
		}
	}
	if w.awaits != "" {
		if err := tx.AwaitRedacted(ctx, w.awaits, ev.NID); err != nil {
			return err
		}
	}
	if w.settled {
		if err := tx.SettleRedactions(ctx, ev.ID); err != nil {
			return err
		}
	}
	if w.arrived {
		if err := tx.RemoveMissing(ctx, b.head.nid, ev.ID); err != nil {
			return err
		}
	}
	for _, missing := range w.missing {
		if err := tx.AddMissing(ctx, b.head.nid, store.MissingEvent{ID: missing, Topo: ev.Topo}); err != nil {
			return err
		}
	}
	return nil
}

// flushChange stores what an event did to a slot of the current state.
func (b *batch) flushChange(tx *store.Tx, w *write, c change) error {
	ctx, nid := b.ctx, int64(0)
	if c.ev != nil {
		nid = c.ev.NID
	}
	// A rebuilt state (an import) is no list of changes: who joins gets all of it.
	if !b.rebuilt {
		sc := store.StateChange{Pos: w.ev.Pos, Slot: c.slot, Event: nid, Prev: c.prev}
		if err := tx.AddStateChange(ctx, b.head.nid, sc); err != nil {
			return err
		}
	}
	if c.key.Type != event.TypeMember {
		return tx.SetCurrentState(ctx, b.head.nid, c.key, nid)
	}
	user, err := id.ParseUserID(c.key.StateKey)
	if err != nil {
		return nil // a member event of nobody: the rules let it through in old rooms, no table needs it
	}
	row := store.MemberRow{User: user, Membership: c.is, Event: nid}
	if c.ev != nil {
		row.DisplayName, row.AvatarURL = profileOf(c.ev.Content)
	}
	if err := tx.SetMembership(ctx, b.head.nid, row); err != nil {
		return err
	}
	if !b.e.local(user) {
		return nil
	}
	if b.rebuilt {
		// What the imported state says of our users may be old news to them.
		now, err := tx.UserRoom(ctx, user, b.head.room)
		if err != nil && !errors.Is(err, store.ErrNotFound) || err == nil && now.Event == nid {
			return err
		}
	}
	pos := w.ev.Pos
	if c.was == c.is && c.ev != nil && !b.rebuilt {
		// A new display name is no new membership, but the event that stands for it is another.
		return tx.SetUserRoomEvent(ctx, user, b.head.nid, nid)
	}
	return tx.SetUserRoom(ctx, store.UserRoomRow{User: user, Room: b.head.nid, Membership: c.is, Event: nid, Pos: pos})
}

// flushGuest stores a local user's relation to a room we are not in. Their sync learns of it by a position.
func (b *batch) flushGuest(tx *store.Tx, w *write) error {
	g := w.guest
	pos := w.ev.Pos
	if pos <= 0 {
		pos = tx.NextPosition()
	}
	return tx.SetUserRoom(b.ctx, store.UserRoomRow{User: g.user, Room: b.head.nid, Membership: g.membership, Event: w.ev.NID,
		Pos: pos, Stripped: g.stripped})
}

// profileOf reads display name and avatar of a member event's content; what is no string is none.
func profileOf(content []byte) (name, avatar string) {
	name, _ = canonical.GetString(content, "displayname")
	avatar, _ = canonical.GetString(content, "avatar_url")
	return name, avatar
}

// publish makes a stored batch visible and wakes whoever waits.
func (e *Engine) publish(b *batch) {
	e.store.Slots().Stored(b.slots)
	for _, s := range b.snaps {
		e.snaps.put(s)
	}
	c := notify.Change{Pos: e.store.Position(), Kind: notify.Events}
	for _, w := range b.writes {
		e.events.put(w.ev)
		if w.redacts != nil {
			e.events.put(w.redacts.ev)
		}
		if w.guest != nil {
			c.Users = append(c.Users, w.guest.user)
		}
	}
	c.Rooms = []id.RoomID{b.head.room}
	c.Users = append(c.Users, b.gone...)
	c.Users = append(c.Users, b.head.local...)
	for _, j := range b.joins {
		c.Joins = append(c.Joins, notify.RoomUser{Room: b.head.room, User: j.user, Joined: j.joined})
	}
	e.cfg.Notify.Wake(c)
}

// join glues ready JSON values into an array.
func joinJSON(values []json.RawMessage) []byte {
	out := []byte{'['}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v...)
	}
	return append(out, ']')
}
