package event

import (
	"crypto/ed25519"
	"fmt"
	"strconv"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// Template is what an event is built from.
type Template struct {
	RoomID         id.RoomID // "" for a create event whose hash is the room's ID
	Sender         id.UserID
	Type           string
	StateKey       *string
	Content        []byte // JSON object, in any form
	PrevEvents     []id.EventID
	AuthEvents     []id.EventID
	Depth          int64 // cut to the version's limits
	OriginServerTS int64
	Redacts        id.EventID // placed where the version keeps it

	ID     id.EventID            // room versions 1 and 2 only: from id.NewEventID
	Hashes map[id.EventID]string // room versions 1 and 2 only: ReferenceHash of prev and auth events; what is missing is left out
}

// Build makes an event: brings it into its version's form, hashes it, signs it in the name of origin, computes its ID.
// It keeps to the limits that Parse enforces, in all versions to the newest ones. SS v1.16 #adding-hashes-and-signatures-to-outgoing-events
func Build(v *roomver.Version, t Template, origin id.ServerName, key sign.Key) (*PDU, error) {
	t, err := t.normal(v)
	if err != nil {
		return nil, fmt.Errorf("build event: %w", err)
	}
	p := &PDU{
		Version: v, RoomID: t.RoomID, Sender: t.Sender, Type: t.Type, StateKey: t.StateKey, Depth: t.Depth,
		OriginServerTS: t.OriginServerTS, PrevEvents: t.PrevEvents, AuthEvents: t.AuthEvents, ID: t.ID,
	}
	hash := contentHash(t.append(nil, v, nil, nil), v)
	hashes := []byte(`{"sha256":"` + sign.EncodeBase64(hash[:]) + `"}`)
	p.JSON = t.append(nil, v, hashes, nil)
	if v.HashedEventIDs() {
		p.ID = p.hashedID()
	}
	if v.HashedRoomID && p.IsCreate() {
		p.RoomID = id.RoomID("!" + string(p.ID[1:]))
	}
	var sig []byte
	withScratch(func(buf []byte) []byte {
		buf = p.AppendSigned(buf)
		sig = ed25519.Sign(key.Private, buf)
		return buf
	})
	p.JSON = t.append(make([]byte, 0, len(p.JSON)+200), v, hashes, sign.AppendSignature(nil, nil, string(origin), key.ID, sig))
	if len(p.JSON) > MaxSize {
		return nil, fmt.Errorf("build event: %w: %d bytes", ErrTooLarge, len(p.JSON))
	}
	if err := p.check(false); err != nil {
		return nil, fmt.Errorf("build event: %w", err)
	}
	p.refresh()
	return p, nil
}

// normal checks a template and brings its parts into the version's form.
func (t Template) normal(v *roomver.Version) (Template, error) {
	content, err := canonical.Append(nil, t.Content, mode(v))
	if err != nil {
		return t, fmt.Errorf("%w: content: %w", ErrMalformed, err)
	}
	if !canonical.IsObject(content) {
		return t, malformed("content is no object")
	}
	t.Content = content
	if t.Redacts != "" && v.RedactsInContent {
		t.Content = canonical.AppendSet(nil, content, "redacts", canonical.AppendString(nil, t.Redacts))
	}
	t.Depth = min(max(t.Depth, 0), MaxDepth(v))
	create := t.Type == TypeCreate && t.StateKey != nil && *t.StateKey == ""
	switch {
	case v.HashedRoomID && create && t.RoomID != "":
		return t, malformed("create event with room_id")
	case v.HashedEventIDs() && t.ID != "":
		return t, malformed("event ID chosen where it is a hash")
	case !v.HashedEventIDs() && t.ID == "":
		return t, malformed("no event ID")
	}
	return t, nil
}

// append appends the event in canonical form; hashes and signatures may be missing.
func (t Template) append(dst []byte, v *roomver.Version, hashes, signatures []byte) []byte {
	dst = append(dst, `{"auth_events":`...)
	dst = t.appendIDs(dst, t.AuthEvents, v)
	dst = append(dst, `,"content":`...)
	dst = append(dst, t.Content...)
	dst = append(dst, `,"depth":`...)
	dst = strconv.AppendInt(dst, t.Depth, 10)
	if !v.HashedEventIDs() && t.ID != "" {
		dst = append(dst, `,"event_id":`...)
		dst = canonical.AppendString(dst, t.ID)
	}
	if hashes != nil {
		dst = append(dst, `,"hashes":`...)
		dst = append(dst, hashes...)
	}
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, t.OriginServerTS, 10)
	dst = append(dst, `,"prev_events":`...)
	dst = t.appendIDs(dst, t.PrevEvents, v)
	if t.Redacts != "" && !v.RedactsInContent {
		dst = append(dst, `,"redacts":`...)
		dst = canonical.AppendString(dst, t.Redacts)
	}
	if t.RoomID != "" {
		dst = append(dst, `,"room_id":`...)
		dst = canonical.AppendString(dst, t.RoomID)
	}
	dst = append(dst, `,"sender":`...)
	dst = canonical.AppendString(dst, t.Sender)
	if signatures != nil {
		dst = append(dst, `,"signatures":`...)
		dst = append(dst, signatures...)
	}
	if t.StateKey != nil {
		dst = append(dst, `,"state_key":`...)
		dst = canonical.AppendString(dst, *t.StateKey)
	}
	dst = append(dst, `,"type":`...)
	dst = canonical.AppendString(dst, t.Type)
	return append(dst, '}')
}

// appendIDs writes prev_events or auth_events. RV 1 #event-format, RV 3 #event-format
func (t Template) appendIDs(dst []byte, ids []id.EventID, v *roomver.Version) []byte {
	dst = append(dst, '[')
	for i, e := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.HashedEventIDs() {
			dst = canonical.AppendString(dst, e)
			continue
		}
		dst = append(dst, '[')
		dst = canonical.AppendString(dst, e)
		dst = append(dst, ',', '{')
		if hash, known := t.Hashes[e]; known {
			dst = append(dst, `"sha256":`...)
			dst = canonical.AppendString(dst, hash)
		}
		dst = append(dst, '}', ']')
	}
	return append(dst, ']')
}

// JSON writes the template as make_join, make_leave and make_knock answer with it: the event without hashes and
// signatures, for the other server to complete. SS v1.16 #joining-rooms
func (t Template) JSON(v *roomver.Version) ([]byte, error) {
	// In versions 1 and 2 the server that completes the event chooses its ID.
	chosen := t.ID
	if !v.HashedEventIDs() {
		t.ID = "$"
	}
	t, err := t.normal(v)
	if err != nil {
		return nil, fmt.Errorf("event template: %w", err)
	}
	t.ID = chosen
	return t.append(nil, v, nil, nil), nil
}

// ParseTemplate reads the proposal that make_join, make_leave and make_knock answer with. Whether it says what was asked
// for is for the caller to compare: room, sender, type, state key, content. A18
func ParseTemplate(raw []byte, v *roomver.Version) (Template, error) {
	if len(raw) > maxRaw {
		return Template{}, fmt.Errorf("event template: %w: %d bytes", ErrTooLarge, len(raw))
	}
	json, err := canonical.Append(nil, raw, mode(v))
	if err != nil {
		return Template{}, fmt.Errorf("event template: %w: %w", ErrMalformed, err)
	}
	if _, found := canonical.Get(json, "origin_server_ts"); !found {
		json = canonical.AppendSet(nil, json, "origin_server_ts", []byte("0")) // who completes the event sets it anyway
	}
	p := &PDU{Version: v, JSON: json}
	if err := p.fill(); err != nil {
		return Template{}, fmt.Errorf("event template: %w", err)
	}
	if len(p.PrevEvents) > MaxPrevEvents || len(p.AuthEvents) > MaxAuthEvents {
		return Template{}, fmt.Errorf("event template: %w: prev_events or auth_events", ErrTooLarge)
	}
	t := Template{
		RoomID: p.RoomID, Sender: p.Sender, Type: p.Type, StateKey: p.StateKey, Content: p.Content, Depth: p.Depth,
		PrevEvents: p.PrevEvents, AuthEvents: p.AuthEvents, OriginServerTS: p.OriginServerTS, Redacts: p.Redacts,
	}
	if !v.HashedEventIDs() {
		t.Hashes = pairHashes(json)
	}
	return t, nil
}

// pairHashes reads the hashes beside the IDs in prev_events and auth_events of versions 1 and 2.
func pairHashes(json []byte) map[id.EventID]string {
	hashes := map[id.EventID]string{}
	for _, name := range []string{"prev_events", "auth_events"} {
		list, _ := canonical.Get(json, name)
		elements := canonical.Elements(list)
		for _, value, ok := elements.Next(); ok; _, value, ok = elements.Next() {
			pair := canonical.Elements(value)
			_, first, _ := pair.Next()
			_, second, _ := pair.Next()
			e, isString := canonical.String(first)
			if hash, ok := canonical.GetString(second, "sha256"); ok && isString {
				hashes[id.EventID(e)] = hash
			}
		}
	}
	return hashes
}
