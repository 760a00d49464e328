package federation

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"konsil/homeserver/e2ee"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// appendEDU wraps a content. SS v1.16 #edus
func appendEDU(kind string, content []byte) []byte {
	out := make([]byte, 0, len(content)+len(kind)+32)
	out = append(out, `{"content":`...)
	out = append(out, content...)
	out = append(out, `,"edu_type":"`...)
	out = append(out, kind...)
	return append(out, `"}`...)
}

// keysBatch is how much of each kind is read at a time; it grows when one position alone holds more.
const keysBatch = 500

// followKeys dispatches to-device messages and changes of our users' device lists and cross-signing keys.
// SS v1.16 #device-management, #send-to-device-messaging
func (s *Sender) followKeys(ctx context.Context, out *dispatch, after, upTo int64) (last int64, full bool, err error) {
	if s.devices == nil {
		return upTo, false, nil
	}
	for limit := keysBatch; ; limit *= 4 {
		edus, complete, err := s.devices.Outgoing(ctx, after, upTo, limit)
		if err != nil {
			return 0, false, fmt.Errorf("read keys and messages to send: %w", err)
		}
		last = upTo
		if !complete {
			last = wholeUpTo(edus, limit)
		}
		if last <= after {
			continue // not even one position is whole
		}
		return last, !complete, s.addressKeys(ctx, out, edus, last)
	}
}

// wholeUpTo is the last position up to which nothing was cut off, when a kind may have been cut at limit.
func wholeUpTo(edus []e2ee.EDU, limit int) int64 {
	type counted struct {
		n    int
		last int64
	}
	var kinds [2]counted
	for _, edu := range edus {
		kind := &kinds[0]
		if edu.Destination != "" {
			kind = &kinds[1]
		}
		kind.n++
		kind.last = max(kind.last, edu.Pos)
	}
	upTo := int64(math.MaxInt64)
	for _, kind := range kinds {
		if kind.n >= limit {
			upTo = min(upTo, kind.last-1)
		}
	}
	return upTo
}

func (s *Sender) addressKeys(ctx context.Context, out *dispatch, edus []e2ee.EDU, upTo int64) error {
	nth := 0 // among those of one position; the same after a restart
	for i, edu := range edus {
		if edu.Pos > upTo {
			break
		}
		if nth++; i == 0 || edus[i-1].Pos != edu.Pos {
			nth = 0
		}
		to := []id.ServerName{edu.Destination}
		if edu.User != "" {
			var err error
			if to, err = s.rooms.ServersSharing(ctx, edu.User); err != nil {
				return fmt.Errorf("servers that see a device list: %w", err)
			}
		}
		if s.others(to) {
			out.items = append(out.items, addressed{to: to,
				item: item{pos: edu.Pos, key: strconv.Itoa(nth), edu: appendEDU(edu.Type, edu.Content)}})
		}
	}
	return nil
}

func (s *Sender) others(servers []id.ServerName) bool {
	for _, server := range servers {
		if server != s.server {
			return true
		}
	}
	return false
}

// introduce tells the servers of a room about the devices of a user of ours who has just joined it: they may never have
// heard of them. SS v1.16 #device-management
func (s *Sender) introduce(ctx context.Context, out *dispatch, join *room.Event) error {
	if s.devices == nil {
		return nil
	}
	if join.Replaces != 0 {
		before, err := s.rooms.EventsByNID(ctx, []int64{join.Replaces})
		if err != nil {
			return fmt.Errorf("membership before a join: %w", err)
		}
		if len(before) == 1 && before[0].Membership() == event.Join {
			return nil // a new name or avatar
		}
	}
	servers, err := s.rooms.JoinedServers(ctx, join.RoomID)
	if err != nil {
		return fmt.Errorf("servers of a room: %w", err)
	}
	if !s.others(servers) {
		return nil
	}
	edus, err := s.devices.DevicesOf(ctx, join.Sender)
	if err != nil {
		return fmt.Errorf("make device list updates: %w", err)
	}
	for i, edu := range edus {
		out.items = append(out.items, addressed{to: servers, item: item{pos: join.Pos,
			key: "join " + strconv.Itoa(i), edu: appendEDU(edu.Type, edu.Content)}})
	}
	return nil
}

// followReceipts dispatches our users' public receipts. SS v1.16 #receipts
func (s *Sender) followReceipts(ctx context.Context, out *dispatch, after, upTo int64) (last int64, full bool, err error) {
	var receipts []store.Receipt
	err = s.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		receipts, err = tx.OutgoingReceipts(ctx, after, upTo, followBatch)
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("read receipts to send: %w", err)
	}
	for _, r := range receipts {
		last = r.Pos
		servers, err := s.rooms.JoinedServers(ctx, r.Room)
		if err != nil {
			return 0, false, fmt.Errorf("servers of a room: %w", err)
		}
		out.volatile = append(out.volatile, addressedEDU{
			key: "r " + string(r.Room) + " " + string(r.User) + " " + r.Thread, to: servers, edu: outEDU{read: &receipt{r}}})
	}
	return last, len(receipts) == followBatch, nil
}

type receipt struct{ store.Receipt }

// mergeReceipts writes the EDUs that may get lost; receipts share EDUs as far as one can name a user once per room.
func mergeReceipts(list []outEDU) [][]byte {
	type data struct {
		TS     int64  `json:"ts"`
		Thread string `json:"thread_id,omitempty"`
	}
	type read struct {
		Data   data         `json:"data"`
		Events []id.EventID `json:"event_ids"`
	}
	var (
		edus   [][]byte
		merged []map[id.RoomID]map[string]map[id.UserID]read
	)
next:
	for _, v := range list {
		if v.read == nil {
			edus = append(edus, v.edu)
			continue
		}
		r := v.read
		entry := read{data{r.TS, r.Thread}, []id.EventID{r.Event}}
		for _, rooms := range merged {
			users := rooms[r.Room]["m.read"]
			if _, taken := users[r.User]; taken {
				continue
			}
			if users == nil {
				users = map[id.UserID]read{}
				rooms[r.Room] = map[string]map[id.UserID]read{"m.read": users}
			}
			users[r.User] = entry
			continue next
		}
		merged = append(merged, map[id.RoomID]map[string]map[id.UserID]read{r.Room: {"m.read": {r.User: entry}}})
	}
	for _, rooms := range merged {
		content, err := json.Marshal(rooms)
		if err != nil {
			continue // strings and numbers always encode
		}
		edus = append(edus, appendEDU("m.receipt", content))
	}
	return edus
}

// followPresence dispatches our users' presence. SS v1.16 #presence
func (s *Sender) followPresence(ctx context.Context, out *dispatch, after, upTo int64) (last int64, full bool, err error) {
	var presences []store.Presence
	err = s.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		presences, err = tx.PresencesSince(ctx, after, upTo, followBatch)
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("read presence to send: %w", err)
	}
	for _, p := range presences {
		last = p.Pos
		if p.User.Server() != s.server {
			continue
		}
		servers, err := s.rooms.ServersSharing(ctx, p.User)
		if err != nil {
			return 0, false, fmt.Errorf("servers that see a presence: %w", err)
		}
		if !s.others(servers) {
			continue
		}
		out.volatile = append(out.volatile, addressedEDU{key: "p " + string(p.User), to: servers,
			edu: outEDU{edu: appendEDU("m.presence", presenceContent(p, s.clock.Now().UnixMilli()))}})
	}
	return last, len(presences) == followBatch, nil
}

func presenceContent(p store.Presence, now int64) []byte {
	out := []byte(`{"push":[{"user_id":`)
	out = canonical.AppendString(out, p.User)
	out = append(out, `,"presence":`...)
	out = canonical.AppendString(out, p.State)
	if p.StatusMsg != nil {
		out = append(out, `,"status_msg":`...)
		out = canonical.AppendString(out, *p.StatusMsg)
	}
	out = append(out, `,"last_active_ago":`...)
	ago := int64(0)
	if p.LastActive > 0 {
		ago = max(0, now-p.LastActive)
	}
	out = strconv.AppendInt(out, ago, 10)
	out = append(out, `,"currently_active":`...)
	out = strconv.AppendBool(out, p.Active)
	return append(out, `}]}`...)
}

// Typing sends a typing notification of a user of ours to the servers of the room. It is not stored and may get lost.
// SS v1.16 #typing-notifications
func (s *Sender) Typing(ctx context.Context, roomID id.RoomID, user id.UserID, typing bool) error {
	servers, err := s.rooms.JoinedServers(ctx, roomID)
	if err != nil {
		return fmt.Errorf("servers of a room: %w", err)
	}
	content := []byte(`{"room_id":`)
	content = canonical.AppendString(content, roomID)
	content = append(content, `,"user_id":`...)
	content = canonical.AppendString(content, user)
	content = append(content, `,"typing":`...)
	content = strconv.AppendBool(content, typing)
	edu := outEDU{edu: appendEDU("m.typing", append(content, '}'))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spawn == nil {
		return nil
	}
	for _, server := range servers {
		s.putVolatile(server, "y "+string(roomID)+" "+string(user), edu)
	}
	return nil
}
