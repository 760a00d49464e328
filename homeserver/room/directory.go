package room

// NOTE to helpers: aliases, directory, summaries and user search are being written by the lead in this file, directory_*.go and summary.go.

import (
	"context"

	"konsil/matrix/id"
)

// ---- aliases and directory

// CreateAlias points an alias of this domain to a room.
func (e *Engine) CreateAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, room id.RoomID) error {
	return errSoon
}

// DeleteAlias takes it away; allowed to who made it, to those who may send m.room.canonical_alias, and to admins. The
// canonical alias event is cleaned.
func (e *Engine) DeleteAlias(ctx context.Context, user id.UserID, alias id.RoomAlias, admin bool) error {
	return errSoon
}

// ResolveAlias finds the room of an alias of this domain, and servers to join through.
func (e *Engine) ResolveAlias(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	return "", nil, errSoon
}

// AliasesOf lists the aliases of this domain for a room, for those who may see it.
func (e *Engine) AliasesOf(ctx context.Context, user id.UserID, room id.RoomID) ([]id.RoomAlias, error) {
	return nil, errSoon
}

// SetPublished lists a room in the directory, or takes it out.
func (e *Engine) SetPublished(ctx context.Context, user id.UserID, room id.RoomID, published, admin bool) error {
	return errSoon
}
func (e *Engine) Published(ctx context.Context, room id.RoomID) (bool, error) { return false, errSoon }

// PublicRoomsRequest is a page of the directory.
type PublicRoomsRequest struct {
	Limit     int
	Since     string
	Search    string
	RoomTypes []*string // nil entry: rooms without type; nil slice: all
}

// Summary is what may be told of a room to somebody outside. CS v1.16 #get_matrixclientv3publicrooms
type Summary struct {
	Room           id.RoomID    `json:"room_id"`
	Name           string       `json:"name,omitempty"`
	Topic          string       `json:"topic,omitempty"`
	CanonicalAlias id.RoomAlias `json:"canonical_alias,omitempty"`
	AvatarURL      string       `json:"avatar_url,omitempty"`
	JoinedMembers  int          `json:"num_joined_members"`
	WorldReadable  bool         `json:"world_readable"`
	GuestCanJoin   bool         `json:"guest_can_join"`
	JoinRule       string       `json:"join_rule,omitempty"`
	RoomType       string       `json:"room_type,omitempty"`
}

// SummaryDetail adds what hierarchy and room_summary tell.
type SummaryDetail struct {
	Summary
	Version      string      // room version
	Encryption   string      // algorithm, "" for none
	AllowedRooms []id.RoomID // of a restricted join rule
	Children     []*Event    // m.space.child with via, in the order of the specification; nil for what is no space
	Membership   string      // of the asking user, "" for none
}

// PublicRoomsPage is its answer.
type PublicRoomsPage struct {
	Chunk []Summary `json:"chunk"`
	Next  string    `json:"next_batch,omitempty"`
	Prev  string    `json:"prev_batch,omitempty"`
	Total int       `json:"total_room_count_estimate"`
}

// PublicRooms reads the directory of this domain, largest rooms first.
func (e *Engine) PublicRooms(ctx context.Context, r PublicRoomsRequest) (PublicRoomsPage, error) {
	return PublicRoomsPage{}, errSoon
}

// SummaryForUser is what the user may know of a room we are in; ErrUnknownRoom if it is hidden from them.
func (e *Engine) SummaryForUser(ctx context.Context, user id.UserID, room id.RoomID) (SummaryDetail, error) {
	return SummaryDetail{}, errSoon
}

// SummaryForServer is the same for a user of that server.
func (e *Engine) SummaryForServer(ctx context.Context, server id.ServerName, room id.RoomID) (SummaryDetail, error) {
	return SummaryDetail{}, errSoon
}

// UserHit is a row of the user directory.
type UserHit struct {
	User        id.UserID `json:"user_id"`
	DisplayName string    `json:"display_name,omitempty"`
	AvatarURL   string    `json:"avatar_url,omitempty"`
}

// SearchUsers finds users who share a room with user, or are in a public one, by name or ID.
func (e *Engine) SearchUsers(ctx context.Context, user id.UserID, term string, limit int) ([]UserHit, bool, error) {
	return nil, false, errSoon
}
