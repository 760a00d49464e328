package room

import (
	"context"
	"encoding/json"

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

// ClientEvents writes events as clients get them, with unsigned: age, prev_content, replaces_state, redacted_because, transaction_id,
// membership, m.relations. Few queries for all of them together.
func (e *Engine) ClientEvents(ctx context.Context, f Format, evs []*Event) ([]json.RawMessage, error) {
	return nil, errSoon
}

// Token is a place in a room's history: "t<topo>_<pos>", or a position of the domain's order: "s<pos>".
type Token struct {
	Topo int64 // 0 for "s" tokens
	Pos  int64
	Sync bool
}

// ParseToken reads what a client sent back.
func ParseToken(s string) (Token, error) { return Token{}, errSoon }
func (t Token) String() string           { return "" }

// SyncToken and EventToken make tokens: at a position; just before or after an event in its room's order.
func SyncToken(pos int64) Token              { return Token{} }
func EventToken(ev *Event, after bool) Token { return Token{} }

// EventFilter is the room event filter of a read; empty fields filter nothing. CS v1.16 #filtering
type EventFilter struct {
	Types, NotTypes     []string // * is a wildcard
	Senders, NotSenders []id.UserID
	RelTypes            []string // MSC3874
	NotRelTypes         []string
	ContainsURL         *bool
}

// PageRequest is /messages.
type PageRequest struct {
	Room     id.RoomID
	User     id.UserID
	From, To *Token // nil From: the newest (backward) or oldest (forward) end
	Backward bool
	Limit    int
	Filter   EventFilter
}

// Page is its answer. End is nil at the end of history.
type Page struct {
	Events []*Event
	Start  Token
	End    *Token
	// Gap says that history known to be missing begins within or right after the page: backfilling and asking again gives more. Missing are the
	// events to backfill from.
	Gap     bool
	Missing []id.EventID
}

// Messages reads a page of history the user may see.
func (e *Engine) Messages(ctx context.Context, r PageRequest) (Page, error) { return Page{}, errSoon }

// Context is /context: what stands around an event, in the order of the specification.
type Context struct {
	Event         *Event
	Before, After []*Event // newest first, oldest first
	State         []*Event // at the last event
	Start, End    Token
}

// Context reads an event the user may see and what stands around it.
func (e *Engine) Context(ctx context.Context, user id.UserID, room id.RoomID, ev id.EventID, limit int, f EventFilter) (Context, error) {
	return Context{}, errSoon
}

// EventOf reads one event of a room as a user may see it; ErrUnknownEvent else.
func (e *Engine) EventOf(ctx context.Context, user id.UserID, room id.RoomID, ev id.EventID) (*Event, error) {
	return nil, errSoon
}

// RelationRequest is /relations. RelType and Type may be empty.
type RelationRequest struct {
	Room     id.RoomID
	User     id.UserID
	Event    id.EventID
	RelType  string
	Type     string
	From, To *Token
	Forward  bool
	Limit    int
	Recurse  bool
}

// RelationPage is its answer; the tokens are nil at the ends.
type RelationPage struct {
	Events     []*Event
	Next, Prev *Token
	Depth      int // how deep Recurse went
}

// Relations reads the events that relate to an event.
func (e *Engine) Relations(ctx context.Context, r RelationRequest) (RelationPage, error) {
	return RelationPage{}, errSoon
}

// Threads lists thread roots by their latest reply, newest first. participated: only threads the user wrote in.
func (e *Engine) Threads(ctx context.Context, user id.UserID, room id.RoomID, participated bool, from *Token, limit int) (RelationPage, error) {
	return RelationPage{}, errSoon
}

// TimestampToEvent finds the event nearest to ts, forward or backward; ErrUnknownEvent for none.
func (e *Engine) TimestampToEvent(ctx context.Context, user id.UserID, room id.RoomID, ts int64, forward bool) (*Event, error) {
	return nil, errSoon
}

// StateForUser reads the state a user may see: now while they are in the room (or may peek), as it was when they left otherwise. CS v1.16 #get_matrixclientv3roomsroomidstate
func (e *Engine) StateForUser(ctx context.Context, user id.UserID, room id.RoomID) ([]*Event, error) {
	return nil, errSoon
}

// StateEventForUser is StateForUser for one slot; M_NOT_FOUND for an empty one.
func (e *Engine) StateEventForUser(ctx context.Context, user id.UserID, room id.RoomID, typ, key string) (*Event, error) {
	return nil, errSoon
}

// MembersForUser is /members: like StateForUser, optionally at a token.
func (e *Engine) MembersForUser(ctx context.Context, user id.UserID, room id.RoomID, at *Token, want, not string) ([]*Event, error) {
	return nil, errSoon
}
