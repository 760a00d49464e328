package room

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Send stores an event of a local user and answers its ID. A repeated transaction, or state that is there already, answers
// the existing event. CS v1.16 #put_matrixclientv3roomsroomidsendeventtypetxnid
func (e *Engine) Send(ctx context.Context, d Draft) (id.EventID, error) {
	if len(d.Type) > event.MaxField || d.StateKey != nil && len(*d.StateKey) > event.MaxField {
		return "", mxerr.TooLarge("The event type or state key is too long")
	}
	if d.StateKey != nil {
		if err := e.checkState(ctx, d); err != nil {
			return "", err
		}
	}
	var sent id.EventID
	err := e.change(ctx, d.Room, func(b *batch) (err error) {
		sent, err = b.sendDraft(d)
		return err
	})
	return sent, err
}

// checkState refuses state that the rules of the room would let through, or refuse with the wrong word.
func (e *Engine) checkState(ctx context.Context, d Draft) error {
	switch d.Type {
	case event.TypeMember:
		target, err := id.ParseUserID(*d.StateKey)
		if err != nil {
			return mxerr.InvalidParam("The state key is not a user ID")
		}
		if is, _ := canonical.GetString(d.Content, "membership"); is == event.Invite {
			return e.CheckInvite(ctx, target, d.Sender)
		}
	case event.TypeCanonicalAlias:
		if *d.StateKey == "" {
			return e.checkAliases(ctx, d)
		}
	}
	return nil
}

func (b *batch) sendDraft(d Draft) (id.EventID, error) {
	h := &b.head
	if h.snap.nid == 0 || !h.here() { // whether we know the room at all is no business of who is outside
		return "", mxerr.Forbidden("You are not in the room")
	}
	txn := ""
	if d.TxnID != "" {
		txn = store.TxnKey(d.Sender, d.Device, d.TxnScope, h.nid, d.TxnID)
		if sent, ok, err := b.sentBefore(txn); ok || err != nil {
			return sent, err
		}
	}
	content, err := b.checkContent(d)
	if err != nil {
		return "", err
	}
	if d.Type == event.TypeRedaction && d.Redacts != "" && h.version.RedactsInContent {
		content = withRedacts(content, d.Redacts)
	}
	if d.StateKey != nil {
		if same, err := b.sameState(d, content); same != "" || err != nil {
			return same, err
		}
	}
	ev, err := b.send(proposal{typ: d.Type, key: d.StateKey, sender: d.Sender, content: content, redacts: d.Redacts, ts: d.TS, txn: txn})
	if err != nil {
		return "", err
	}
	if d.Type == event.TypeRedaction && d.StateKey == nil {
		return ev.ID, b.redactByUser(ev)
	}
	return ev.ID, nil
}

// checkContent refuses what no power could make valid, as bad requests rather than as forbidden, and takes out what the
// server alone has to say.
func (b *batch) checkContent(d Draft) ([]byte, error) {
	h := &b.head
	if h.version.OwnedState && d.StateKey != nil && strings.HasPrefix(*d.StateKey, "@") && auth.StateKeyOwner(*d.StateKey) == "" {
		return nil, mxerr.BadJSON("The state key is neither a user ID nor one with an underscore and more behind it") // MSC3757
	}
	switch d.Type {
	case event.TypeCreate:
		return nil, mxerr.BadJSON("A room is made with its create event and gets no other")
	case event.TypePowerLevels:
		if !h.version.PrivilegedCreators || d.StateKey == nil {
			break
		}
		users, _ := canonical.Get(d.Content, "users")
		named := false
		_ = canonical.Object(users, func(user string, _ []byte) error {
			named = named || h.create.IsCreator(id.UserID(user))
			return nil
		})
		if named { // RV 12 rule 10.4
			return nil, mxerr.BadJSON("Creators stand above all power levels and are not named in them")
		}
	case event.TypeMember:
		if d.StateKey == nil || *d.StateKey != string(d.Sender) {
			break
		}
		now, err := b.inState(id.Slot{Type: d.Type, StateKey: *d.StateKey})
		if err != nil {
			return nil, err
		}
		if now != nil && now.Membership() == event.Join {
			// Who is in needs nobody to vouch for them; clients copy the field from the event they change. RV 8 rule 5.3
			return canonical.AppendWithout(nil, d.Content, "join_authorised_via_users_server"), nil
		}
	}
	return d.Content, nil
}

// sentBefore finds what a client transaction has sent. After the first failed batch the store is asked too; until then a
// transaction that is stored already shows when the event is inserted.
func (b *batch) sentBefore(txn string) (id.EventID, bool, error) {
	if sent, ok := b.byTxn[txn]; ok {
		return sent, true, nil
	}
	if !b.careful {
		return "", false, nil
	}
	var sent id.EventID
	err := b.e.store.ReadOne(b.ctx, func(tx *store.Tx) (err error) {
		sent, err = tx.EventByTxn(b.ctx, txn)
		return err
	})
	if err == store.ErrNotFound {
		return "", false, nil
	}
	return sent, err == nil, err
}

// sameState answers the current event of a slot if the draft would only repeat it.
func (b *batch) sameState(d Draft, content []byte) (id.EventID, error) {
	now, err := b.inState(id.Slot{Type: d.Type, StateKey: *d.StateKey})
	if err != nil || now == nil || now.Sender != d.Sender || now.Redacted() {
		return "", err
	}
	c, err := canonical.Append(nil, content, modeOf(b.head.version))
	if err != nil || !bytes.Equal(c, now.Content) {
		return "", nil //nolint:nilerr // a content that is not canonical is refused when the event is built
	}
	// Who is allowed to send it is asked all the same: the answer must not tell what a refusal would not.
	if err := b.permit(now.PDU); err != nil {
		return "", err
	}
	return now.ID, nil
}

// withRedacts puts the target of a redaction into its content, where room versions from 11 on keep it. RV 11 #redactions
func withRedacts(content []byte, target id.EventID) []byte {
	out := append([]byte(`{"redacts":`), canonical.AppendString(nil, string(target))...)
	_ = canonical.Object(content, func(key string, value []byte) error {
		if key != "redacts" {
			out = append(out, ',')
			out = canonical.AppendString(out, key)
			out = append(out, ':')
			out = append(out, value...)
		}
		return nil
	})
	return append(out, '}')
}

// redactByUser carries out a redaction that a local user has just sent. Unlike other servers, a client is told when its redaction
// has no effect. CS v1.16 #redactions
func (b *batch) redactByUser(redaction *Event) error {
	target, err := b.find(redaction.Redacts)
	if err != nil {
		return err
	}
	if target == nil {
		// It may be one that has not reached us yet: the redaction waits for it, and is judged then.
		b.await(b.writes[len(b.writes)-1], redaction.Redacts)
		return nil
	}
	if target.RoomNID != b.head.nid || target.Status != store.Accepted {
		return mxerr.NotFound("The event to redact is not known")
	}
	levels := b.head.levels()
	// The rules let every user of a server redact for all others of it; between themselves users need the level.
	if target.Sender != redaction.Sender && levels.UserLevel(redaction.Sender) < levels.Redact() {
		return mxerr.Forbidden("You may not redact events of others")
	}
	return b.redact(redaction, target)
}

// redact carries out an allowed redaction on its target; that it has none, or may not, is no error. RV 3 #handling-redactions
func (b *batch) redact(redaction, target *Event) error {
	w := b.writes[len(b.writes)-1]
	if target.Redacted() || target.RoomNID != redaction.RoomNID || target.IsCreate() {
		return nil
	}
	err := auth.MayRedact(redaction.PDU, target.PDU, b.head.levels())
	var r *auth.Refusal
	if errors.As(err, &r) {
		return nil
	}
	if err != nil {
		return err
	}
	b.setRedacted(w, target, redaction.NID)
	return nil
}

// setRedacted replaces an event by its redacted copy, also where the head holds it.
func (b *batch) setRedacted(w *write, target *Event, by int64) {
	done := target.withPDU(target.PDU.Redact())
	done.RedactedBy = by
	w.redacts = &redacted{ev: done, by: by}
	b.events[done.NID], b.ids[done.ID] = done, done
	h := &b.head
	if field := h.special(target.Slot()); target.IsState() && field != nil && *field != nil && (*field).NID == target.NID {
		*field = done
	}
	for i, ev := range h.extremities {
		if ev.NID == target.NID {
			list := append([]*Event(nil), h.extremities...)
			list[i] = done
			h.setExtremities(list)
		}
	}
}
