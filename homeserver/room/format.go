package room

import (
	"context"
	"encoding/json"
	"strconv"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Viewer is whose eyes events are shown to.
type Viewer struct {
	User   id.UserID
	Device id.DeviceID // for unsigned.transaction_id
}

// Format says how client events are written.
type Format struct {
	Viewer
	OmitRoomID bool // in /sync the room is known
	Bundle     bool // with aggregated relations: edits, threads, references
}

// ClientEvents writes events as clients get them, with unsigned: age, prev_content, replaces_state, redacted_because,
// transaction_id, membership, m.relations. Few queries serve all of them together. CS v1.16 #room-event-format
func (e *Engine) ClientEvents(ctx context.Context, f Format, evs []*Event) ([]json.RawMessage, error) {
	w := &formatter{e: e, ctx: ctx, Format: f, now: e.now(), viewers: map[id.RoomID]*viewer{}}
	if err := w.prefetch(evs); err != nil {
		return nil, err
	}
	if f.Bundle {
		var err error
		if w.bundles, err = e.bundles(ctx, f.User, evs); err != nil {
			return nil, err
		}
	}
	out := make([]json.RawMessage, len(evs))
	size := 0
	for _, ev := range evs {
		size += len(ev.JSON) + 64
	}
	buf := make([]byte, 0, size) // one allocation for a page; events keep their place in it
	for i, ev := range evs {
		start := len(buf)
		var err error
		if buf, err = w.append(buf, ev); err != nil {
			return nil, err
		}
		out[i] = buf[start:len(buf):len(buf)]
	}
	return out, nil
}

// ClientEvent is ClientEvents for one.
func (e *Engine) ClientEvent(ctx context.Context, f Format, ev *Event) (json.RawMessage, error) {
	out, err := e.ClientEvents(ctx, f, []*Event{ev})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

type formatter struct {
	Format
	e       *Engine
	ctx     context.Context
	now     int64
	beside  map[int64]*Event // replaced state and redactions
	viewers map[id.RoomID]*viewer
	bundles map[id.EventID]*bundle
	scratch []byte
}

// prefetch reads the events that unsigned fields are made of.
func (w *formatter) prefetch(evs []*Event) error {
	var nids []int64
	for _, ev := range evs {
		if ev.Replaces != 0 {
			nids = append(nids, ev.Replaces)
		}
		if ev.RedactedBy != 0 {
			nids = append(nids, ev.RedactedBy)
		}
	}
	var err error
	w.beside, err = w.e.eventMap(w.ctx, nids)
	return err
}

func (w *formatter) append(dst []byte, ev *Event) ([]byte, error) {
	unsigned, err := w.unsigned(w.scratch[:0], ev)
	if err != nil {
		return nil, err
	}
	w.scratch = unsigned
	return ev.AppendClient(dst, event.ClientFormat{RoomID: !w.OmitRoomID, Unsigned: unsigned}), nil
}

// unsigned writes what only this server, or only this user, has to say of the event.
func (w *formatter) unsigned(b []byte, ev *Event) ([]byte, error) {
	b = append(b, `{"age":`...)
	b = strconv.AppendInt(b, max(w.now-ev.OriginServerTS, 0), 10)
	m, err := w.membership(ev)
	if err != nil {
		return nil, err
	}
	if m != "" {
		b = append(append(append(b, `,"membership":"`...), m...), '"')
	}
	if txn := store.TxnOf(ev.Txn, w.User, w.Device); txn != "" {
		b = append(b, `,"transaction_id":`...)
		b = canonical.AppendString(b, txn)
	}
	if prev := w.beside[ev.Replaces]; prev != nil && ev.Replaces != 0 {
		b = append(b, `,"replaces_state":`...)
		b = canonical.AppendString(b, prev.ID)
		b = append(append(b, `,"prev_content":`...), prev.Content...)
		b = append(b, `,"prev_sender":`...)
		b = canonical.AppendString(b, prev.Sender)
	}
	if redaction := w.beside[ev.RedactedBy]; redaction != nil && ev.RedactedBy != 0 {
		b = append(b, `,"redacted_because":`...)
		age := strconv.AppendInt([]byte(`{"age":`), max(w.now-redaction.OriginServerTS, 0), 10)
		b = redaction.AppendClient(b, event.ClientFormat{RoomID: !w.OmitRoomID, Unsigned: append(age, '}')})
	}
	if bundle := w.bundles[ev.ID]; bundle != nil && !ev.Redacted() {
		if b, err = w.relations(b, ev, bundle); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// membership is the viewer's membership at an event. MSC4115
func (w *formatter) membership(ev *Event) (string, error) {
	if w.User == "" || ev.StateAfter == 0 {
		return "", nil
	}
	v := w.viewers[ev.RoomID]
	if v == nil {
		h, err := w.e.head(w.ctx, ev.RoomID)
		if err != nil || h == nil || h.snap.nid == 0 {
			return "", err
		}
		if v, err = w.e.viewer(w.ctx, w.User, h); err != nil {
			return "", err
		}
		w.viewers[ev.RoomID] = v
	}
	return v.membershipAt(ev)
}
