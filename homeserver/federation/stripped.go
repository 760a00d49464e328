package federation

import (
	"context"
	"encoding/json"
	"fmt"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// maxStripped is how many events the summary of a room may have that comes with an invite or a knock.
const maxStripped = 100

// strippedOf checks what came with an invite or knock: full events of the room's version, as the specification asks for since
// 1.16, or stripped ones, as servers sent before. Whatever is neither is left out: it goes to clients (A22).
// CS v1.16 #stripped-state
func strippedOf(raws []json.RawMessage, version *roomver.Version) []json.RawMessage {
	kept := []json.RawMessage{}
	for _, raw := range raws[:min(len(raws), maxStripped)] {
		if _, full := canonical.Get(raw, "signatures"); full {
			if ev, err := event.Parse(raw, version); err == nil && ev.IsState() {
				kept = append(kept, ev.JSON) // the engine takes out of it what clients get
				continue
			}
		}
		if s := strippedFields(raw); s != nil {
			kept = append(kept, s)
		}
	}
	return kept
}

// strippedFields copies the four fields of a stripped event, nil if one is missing or of the wrong type.
func strippedFields(raw []byte) json.RawMessage {
	typ, hasType := canonical.GetString(raw, "type")
	key, hasKey := canonical.GetString(raw, "state_key")
	sender, _ := canonical.GetString(raw, "sender")
	content, _ := canonical.Get(raw, "content")
	if _, err := id.ParseUserID(sender); err != nil || !hasType || !hasKey || !canonical.IsObject(content) {
		return nil
	}
	if len(typ) > event.MaxField || len(key) > event.MaxField || len(content) > event.MaxSize {
		return nil
	}
	out := append([]byte(`{"content":`), content...)
	out = canonical.AppendString(append(out, `,"sender":`...), sender)
	out = canonical.AppendString(append(out, `,"state_key":`...), key)
	out = canonical.AppendString(append(out, `,"type":`...), typ)
	return append(out, '}')
}

// FullState gives for each stripped event of a room of ours the full one: between servers, the summary of a room is made of
// events that can be verified. MSC4311
func (f *Federation) FullState(ctx context.Context, room id.RoomID, stripped []json.RawMessage) ([]json.RawMessage, error) {
	full := make([]json.RawMessage, 0, len(stripped))
	for _, raw := range stripped {
		typ, _ := canonical.GetString(raw, "type")
		key, _ := canonical.GetString(raw, "state_key")
		ev, err := f.cfg.Rooms.StateEvent(ctx, room, typ, key)
		if err != nil {
			return nil, fmt.Errorf("state for a summary: %w", err)
		}
		if ev != nil {
			full = append(full, ev.JSON)
		}
	}
	return full, nil
}
