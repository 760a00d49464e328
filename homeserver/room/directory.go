package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const typeCanonicalAlias = "m.room.canonical_alias"

// CreateAlias points an alias of this domain to a room. Who makes it need not be in the room, but the room must be known here.
// CS v1.16 #put_matrixclientv3directoryroomroomalias
func (e *Engine) CreateAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, room id.RoomID) error {
	if _, err := e.knownHead(ctx, room); err != nil {
		return err
	}
	return e.store.Write(ctx, func(tx *store.Tx) error {
		made, err := tx.InsertAlias(ctx, store.AliasRow{Alias: alias, Room: room, Creator: user, TS: e.now()})
		if err == nil && !made {
			return mxerr.New(409, mxerr.CodeUnknown, "Room alias %s exists already", alias)
		}
		return err
	})
}

// DeleteAlias takes an alias away; allowed to who made it, to those who may send m.room.canonical_alias, and to admins. The
// canonical alias event is cleaned if the user may. CS v1.16 #delete_matrixclientv3directoryroomroomalias
func (e *Engine) DeleteAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, admin bool) error {
	row, err := e.alias(ctx, alias)
	if err != nil {
		return err
	}
	moderator, err := e.mayChange(ctx, row.Room, user, typeCanonicalAlias)
	if err != nil {
		return err
	}
	if row.Creator != user && !moderator && !admin {
		return mxerr.Forbidden("You may not delete this alias")
	}
	err = e.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.DeleteAlias(ctx, alias)
		return err
	})
	if err != nil || !moderator {
		return err
	}
	return e.dropCanonicalAlias(ctx, user, alias, row.Room)
}

func (e *Engine) alias(ctx context.Context, alias id.RoomAlias) (row store.AliasRow, err error) {
	err = e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		row, err = tx.Alias(ctx, alias)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return row, mxerr.NotFound("Room alias %s not found", alias)
	}
	return row, err
}

// mayChange says whether a user is in the room and has the power for a type of state.
func (e *Engine) mayChange(ctx context.Context, room id.RoomID, user id.UserID, eventType string) (bool, error) {
	h, err := e.head(ctx, room)
	if err != nil || h == nil || h.create == nil {
		return false, err
	}
	membership, err := e.Membership(ctx, room, user)
	if err != nil || membership != event.Join {
		return false, err
	}
	levels := h.levels()
	return levels.UserLevel(user) >= levels.StateLevel(eventType), nil
}

// dropCanonicalAlias takes a deleted alias out of the room's own list of aliases.
func (e *Engine) dropCanonicalAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, room id.RoomID) error {
	held, err := e.StateEvent(ctx, room, typeCanonicalAlias, "")
	if err != nil || held == nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	var named struct {
		Alias string   `json:"alias"`
		Alt   []string `json:"alt_aliases"`
	}
	if json.Unmarshal(held.Content, &fields) != nil || json.Unmarshal(held.Content, &named) != nil {
		return nil // what cannot be read names nothing
	}
	changed := named.Alias == string(alias)
	if changed {
		delete(fields, "alias")
	}
	kept := []string{}
	for _, alt := range named.Alt {
		if alt != string(alias) {
			kept = append(kept, alt)
		}
	}
	if len(kept) < len(named.Alt) {
		changed = true
		if fields["alt_aliases"], err = json.Marshal(kept); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	content, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	key := ""
	_, err = e.Send(ctx, Draft{Room: room, Sender: user, Type: typeCanonicalAlias, StateKey: &key, Content: content})
	return err
}

// ResolveAlias finds the room of an alias of this domain, and servers to join through, the likeliest first.
func (e *Engine) ResolveAlias(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	row, err := e.alias(ctx, alias)
	if err != nil {
		return "", nil, err
	}
	servers, err := e.JoinedServers(ctx, row.Room)
	if errors.Is(err, ErrUnknownRoom) {
		err = nil
	}
	for i, s := range servers {
		if s == e.cfg.Server && i > 0 { // we know the alias, so we are asked first
			copy(servers[1:i+1], servers[:i])
			servers[0] = s
		}
	}
	if len(servers) == 0 {
		servers = []id.ServerName{e.cfg.Server}
	}
	return row.Room, servers, err
}

// AliasesOf lists the aliases of this domain for a room, for its members, and for everybody where its history is world
// readable. CS v1.16 #get_matrixclientv3roomsroomidaliases
func (e *Engine) AliasesOf(ctx context.Context, user id.UserID, room id.RoomID) ([]id.RoomAlias, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	membership, err := e.Membership(ctx, room, user)
	if err != nil {
		return nil, err
	}
	if membership != event.Join && h.history() != auth.VisibleWorldReadable {
		return nil, mxerr.Forbidden("You are not in this room")
	}
	return readList(ctx, e, func(tx *store.Tx) ([]id.RoomAlias, error) { return tx.AliasesOf(ctx, room) })
}

// SetPublished lists a room in the directory, or takes it out: what those may do who may change its canonical alias.
func (e *Engine) SetPublished(ctx context.Context, user id.UserID, room id.RoomID, published, admin bool) error {
	if _, err := e.knownHead(ctx, room); err != nil {
		return err
	}
	allowed, err := e.mayChange(ctx, room, user, typeCanonicalAlias)
	if err != nil {
		return err
	}
	if !allowed && !admin {
		return mxerr.Forbidden("You may not change whether this room is listed")
	}
	return e.store.Write(ctx, func(tx *store.Tx) error { return tx.SetPublished(ctx, room, published) })
}

// Published reports whether a room is listed in the directory; ErrUnknownRoom.
func (e *Engine) Published(ctx context.Context, room id.RoomID) (bool, error) {
	var row store.RoomRow
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		row, err = tx.Room(ctx, room)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, ErrUnknownRoom
	}
	return row.Published, err
}

// PublicRoomsRequest is a page of the directory.
type PublicRoomsRequest struct {
	Limit     int
	Since     string    // next_batch or prev_batch of an earlier page
	Search    string    // in name, topic and alias
	RoomTypes []*string // nil entry: rooms without type; nil slice: all
}

// PublicRoomsPage is its answer.
type PublicRoomsPage struct {
	Chunk []Summary `json:"chunk"`
	Next  string    `json:"next_batch,omitempty"`
	Prev  string    `json:"prev_batch,omitempty"`
	Total int       `json:"total_room_count_estimate"`
}

// PublicRooms reads the directory of this domain, largest rooms first. A token is a number of rooms to skip: the directory
// is small, and a page that shifts by a room in between does no harm. CS v1.16 #get_matrixclientv3publicrooms
func (e *Engine) PublicRooms(ctx context.Context, r PublicRoomsRequest) (PublicRoomsPage, error) {
	skip, err := parseSkip(r.Since)
	if err != nil {
		return PublicRoomsPage{}, err
	}
	rows, err := readList(ctx, e, func(tx *store.Tx) ([]store.RoomRow, error) { return tx.PublishedRooms(ctx) })
	if err != nil {
		return PublicRoomsPage{}, err
	}
	all, err := e.summaries(ctx, rows)
	if err != nil {
		return PublicRoomsPage{}, err
	}
	matching := make([]Summary, 0, len(all))
	for _, s := range all {
		if s.matches(r.Search) && s.hasType(r.RoomTypes) {
			matching = append(matching, s)
		}
	}
	page := PublicRoomsPage{Total: len(matching)}
	from := min(skip, len(matching))
	to := min(from+max(r.Limit, 0), len(matching))
	page.Chunk = matching[from:to]
	if to < len(matching) {
		page.Next = "p" + strconv.Itoa(to)
	}
	if from > 0 {
		page.Prev = "p" + strconv.Itoa(max(from-r.Limit, 0))
	}
	return page, nil
}

func parseSkip(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	skip, err := strconv.Atoi(strings.TrimPrefix(token, "p"))
	if err != nil || skip < 0 || !strings.HasPrefix(token, "p") {
		return 0, mxerr.InvalidParam("Invalid value for since")
	}
	return skip, nil
}

// matches searches without regard to case, in what is shown of a room.
func (s *Summary) matches(term string) bool {
	if term == "" {
		return true
	}
	term = strings.ToLower(term)
	for _, text := range []string{s.Name, s.Topic, string(s.CanonicalAlias)} {
		if strings.Contains(strings.ToLower(text), term) {
			return true
		}
	}
	return false
}

func (s *Summary) hasType(wanted []*string) bool {
	if wanted == nil {
		return true
	}
	for _, w := range wanted {
		if w == nil && s.RoomType == "" || w != nil && *w == s.RoomType {
			return true
		}
	}
	return false
}

// summaryTypes are the pieces of state a Summary is made of.
var summaryTypes = []string{
	event.TypeCreate, "m.room.name", "m.room.topic", typeCanonicalAlias, "m.room.avatar",
	event.TypeJoinRules, event.TypeHistoryVisibility, "m.room.guest_access", "m.room.encryption",
}

// summaries reads what is told of rooms, all of them with one query.
func (e *Engine) summaries(ctx context.Context, rows []store.RoomRow) ([]Summary, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	at := make(map[id.RoomID]int, len(rows))
	nids := make([]int64, len(rows))
	all := make([]summaryParts, len(rows))
	for i, r := range rows {
		at[r.ID], nids[i] = i, r.NID
		all[i].Room, all[i].JoinedMembers = r.ID, int(r.Joined)
	}
	evs, err := e.readEvents(ctx, func(tx *store.Tx) ([]store.EventRow, error) { return tx.CurrentStateOfTypes(ctx, nids, summaryTypes) })
	if err != nil {
		return nil, fmt.Errorf("read room summaries: %w", err)
	}
	for _, ev := range evs {
		all[at[ev.RoomID]].add(ev)
	}
	list := make([]Summary, len(all))
	for i := range all {
		list[i] = all[i].Summary
	}
	return list, nil
}
