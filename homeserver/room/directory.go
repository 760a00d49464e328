package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// CreateAlias points an alias of this domain to a room. CS v1.16 #put_matrixclientv3directoryroomroomalias
func (e *Engine) CreateAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, room id.RoomID) error {
	if alias.Server() != e.cfg.Server {
		return mxerr.InvalidParam("The alias is of another server")
	}
	return e.store.Write(ctx, func(tx *store.Tx) error {
		free, err := tx.InsertAlias(ctx, store.AliasRow{Alias: alias, Room: room, Creator: user, TS: e.now()})
		if err == nil && !free {
			err = mxerr.New(409, mxerr.CodeUnknown, "The alias is taken")
		}
		return err
	})
}

var errUnknownAlias error = mxerr.NotFound("Room alias not found")

func (e *Engine) alias(ctx context.Context, alias id.RoomAlias) (row store.AliasRow, err error) {
	err = e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		row, err = tx.Alias(ctx, alias)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errUnknownAlias
	}
	return row, err
}

// DeleteAlias takes an alias away. Allowed to who made it, to those who may send m.room.canonical_alias, and to admins. The room's
// canonical alias event stops naming it. CS v1.16 #delete_matrixclientv3directoryroomroomalias
func (e *Engine) DeleteAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, admin bool) error {
	row, err := e.alias(ctx, alias)
	if err != nil {
		return err
	}
	if row.Creator != user && !admin {
		if ok, err := e.maySetState(ctx, user, row.Room, event.TypeCanonicalAlias); err != nil {
			return err
		} else if !ok {
			return mxerr.Forbidden("You may not delete the alias")
		}
	}
	err = e.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.DeleteAlias(ctx, alias)
		return err
	})
	if err != nil {
		return err
	}
	return e.cleanCanonicalAlias(ctx, user, row.Room, alias)
}

// maySetState reports whether a user is joined and has the level for a state event.
func (e *Engine) maySetState(ctx context.Context, user id.UserID, room id.RoomID, typ string) (bool, error) {
	h, err := e.head(ctx, room)
	if err != nil || h == nil || h.snap.nid == 0 {
		return false, err
	}
	m, err := e.Membership(ctx, room, user)
	if err != nil || m != event.Join {
		return false, err
	}
	levels := h.levels()
	return levels != nil && levels.UserLevel(user) >= levels.StateLevel(typ), nil
}

// cleanCanonicalAlias sends the canonical alias event without an alias, as far as the user may.
func (e *Engine) cleanCanonicalAlias(ctx context.Context, user id.UserID, room id.RoomID, alias id.RoomAlias) error {
	ev, err := e.StateEvent(ctx, room, event.TypeCanonicalAlias, "")
	if err != nil || ev == nil {
		if errors.Is(err, ErrUnknownRoom) {
			err = nil
		}
		return err
	}
	content := map[string]json.RawMessage{}
	if err := json.Unmarshal(ev.Content, &content); err != nil {
		return nil //nolint:nilerr // nothing there to clean
	}
	changed := false
	if s, _ := canonical.String(content["alias"]); s == string(alias) {
		delete(content, "alias")
		changed = true
	}
	var alt []string
	if json.Unmarshal(content["alt_aliases"], &alt) == nil && slices.Contains(alt, string(alias)) {
		kept, err := json.Marshal(slices.DeleteFunc(alt, func(s string) bool { return s == string(alias) }))
		if err != nil {
			return err
		}
		content["alt_aliases"] = kept
		changed = true
	}
	if !changed {
		return nil
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	key := ""
	_, err = e.Send(ctx, Draft{Room: room, Sender: user, Type: event.TypeCanonicalAlias, StateKey: &key, Content: raw})
	if _, refused := mxerr.As(err); refused {
		return nil // the alias is gone all the same
	}
	return err
}

// ResolveAlias finds the room of an alias of this domain, and servers to join through.
func (e *Engine) ResolveAlias(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	row, err := e.alias(ctx, alias)
	if err != nil {
		return "", nil, err
	}
	servers, err := e.JoinedServers(ctx, row.Room)
	if err != nil && !errors.Is(err, ErrUnknownRoom) {
		return "", nil, err
	}
	if i := slices.Index(servers, e.cfg.Server); i > 0 { // we are the likeliest to be there
		servers = slices.Insert(slices.Delete(servers, i, i+1), 0, e.cfg.Server)
	}
	return row.Room, servers, nil
}

// checkAliases refuses a canonical alias event that newly names aliases which do not lead to the room. Those of other servers are theirs to
// say: csapi asks. CS v1.16 #mroomcanonical_alias
func (e *Engine) checkAliases(ctx context.Context, d Draft) error {
	named, err := namedAliases(d.Content)
	if err != nil {
		return err
	}
	var before []id.RoomAlias
	now, err := e.StateEvent(ctx, d.Room, event.TypeCanonicalAlias, "")
	if err != nil {
		return err
	}
	if now != nil {
		before, _ = namedAliases(now.Content)
	}
	for _, alias := range named {
		if alias.Server() != e.cfg.Server || slices.Contains(before, alias) {
			continue
		}
		row, err := e.alias(ctx, alias)
		if err == errUnknownAlias || err == nil && row.Room != d.Room {
			return mxerr.New(400, mxerr.CodeBadAlias, "The alias does not lead to the room")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namedAliases lists the aliases of a canonical alias event.
func namedAliases(content []byte) ([]id.RoomAlias, error) {
	var named []id.RoomAlias
	add := func(value []byte) error {
		s, ok := canonical.String(value)
		alias, err := id.ParseRoomAlias(s)
		if !ok || err != nil {
			return mxerr.InvalidParam("The alias is not valid")
		}
		named = append(named, alias)
		return nil
	}
	if value, ok := canonical.Get(content, "alias"); ok && string(value) != "null" && string(value) != `""` {
		if err := add(value); err != nil {
			return nil, err
		}
	}
	if list, ok := canonical.Get(content, "alt_aliases"); ok {
		if err := canonical.Array(list, add); err != nil {
			return nil, mxerr.InvalidParam("alt_aliases is no list of aliases")
		}
	}
	return named, nil
}

// AliasesOf lists the aliases of this domain for a room, for those who may see it. CS v1.16 #get_matrixclientv3roomsroomidaliases
func (e *Engine) AliasesOf(ctx context.Context, user id.UserID, room id.RoomID) ([]id.RoomAlias, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return nil, err
	}
	if h == nil || h.snap.nid == 0 {
		return nil, errNotMember
	}
	if m, err := e.Membership(ctx, room, user); err != nil {
		return nil, err
	} else if m != event.Join && h.history().String() != "world_readable" {
		return nil, errNotMember
	}
	return readList(ctx, e, func(tx *store.Tx) ([]id.RoomAlias, error) { return tx.AliasesOf(ctx, room) })
}

// SetPublished lists a room in the directory, or takes it out: by those who may send m.room.canonical_alias, and admins.
// CS v1.16 #put_matrixclientv3directorylistroomroomid
func (e *Engine) SetPublished(ctx context.Context, user id.UserID, room id.RoomID, published, admin bool) error {
	if _, err := e.knownHead(ctx, room); err != nil {
		return err
	}
	if !admin {
		if ok, err := e.maySetState(ctx, user, room, event.TypeCanonicalAlias); err != nil {
			return err
		} else if !ok {
			return mxerr.Forbidden("You may not publish the room")
		}
	}
	return e.store.Write(ctx, func(tx *store.Tx) error { return tx.SetPublished(ctx, room, published) })
}

// Published reports whether a room is listed; ErrUnknownRoom.
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
	Limit     int    // 0: all
	Since     string // next_batch or prev_batch of a page
	Search    string
	RoomTypes []*string // nil entry: rooms without type; nil slice: all
}

// PublicRoomsPage is its answer.
type PublicRoomsPage struct {
	Chunk []Summary `json:"chunk"`
	Next  string    `json:"next_batch,omitempty"`
	Prev  string    `json:"prev_batch,omitempty"`
	Total int       `json:"total_room_count_estimate"`
}

// PublicRooms reads the directory of this domain, largest rooms first. CS v1.16 #get_matrixclientv3publicrooms
func (e *Engine) PublicRooms(ctx context.Context, r PublicRoomsRequest) (PublicRoomsPage, error) {
	skip := 0
	if r.Since != "" {
		n, err := strconv.Atoi(r.Since)
		if err != nil || n < 0 {
			return PublicRoomsPage{}, mxerr.InvalidParam("The token is not valid")
		}
		skip = n
	}
	rooms, err := readList(ctx, e, func(tx *store.Tx) ([]store.RoomRow, error) { return tx.PublishedRooms(ctx) })
	if err != nil {
		return PublicRoomsPage{}, err
	}
	all, err := e.summaries(ctx, rooms)
	if err != nil {
		return PublicRoomsPage{}, err
	}
	term := strings.ToLower(r.Search)
	all = slices.DeleteFunc(all, func(s Summary) bool { return !s.matches(term) || !s.ofType(r.RoomTypes) })
	page := PublicRoomsPage{Chunk: []Summary{}, Total: len(all)}
	if skip >= len(all) {
		return page, nil
	}
	end := len(all)
	if r.Limit > 0 {
		end = min(skip+r.Limit, len(all))
	}
	page.Chunk = all[skip:end]
	if end < len(all) {
		page.Next = strconv.Itoa(end)
	}
	if skip > 0 {
		page.Prev = strconv.Itoa(max(skip-r.Limit, 0))
	}
	return page, nil
}

// matches reports whether a lower-case term stands in name, topic or alias.
func (s *Summary) matches(term string) bool {
	return term == "" || strings.Contains(strings.ToLower(s.Name), term) || strings.Contains(strings.ToLower(s.Topic), term) ||
		strings.Contains(strings.ToLower(string(s.CanonicalAlias)), term)
}

func (s *Summary) ofType(types []*string) bool {
	if types == nil {
		return true
	}
	return slices.ContainsFunc(types, func(t *string) bool { return t == nil && s.RoomType == "" || t != nil && *t == s.RoomType && *t != "" })
}
