package account

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"konsil/homeserver/store"
	"konsil/kit/limit"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Filter says what of a sync a client wants. A nil list means "all", an empty one "none". CS v1.16 #filtering
type Filter struct {
	EventFields []string    `json:"event_fields"`
	EventFormat string      `json:"event_format"` // client or federation; "" means client
	Presence    EventFilter `json:"presence"`
	AccountData EventFilter `json:"account_data"`
	Room        RoomFilter  `json:"room"`
}

// EventFilter narrows events by sender and type. Types may hold * for any characters.
type EventFilter struct {
	Limit      *int        `json:"limit"`
	Senders    []id.UserID `json:"senders"`
	NotSenders []id.UserID `json:"not_senders"`
	Types      []string    `json:"types"`
	NotTypes   []string    `json:"not_types"`
}

// RoomEventFilter narrows the events of rooms.
type RoomEventFilter struct {
	EventFilter
	Rooms                     []id.RoomID `json:"rooms"`
	NotRooms                  []id.RoomID `json:"not_rooms"`
	ContainsURL               *bool       `json:"contains_url"`
	LazyLoadMembers           bool        `json:"lazy_load_members"`
	IncludeRedundantMembers   bool        `json:"include_redundant_members"`
	UnreadThreadNotifications bool        `json:"unread_thread_notifications"`
	RelatedBySenders          []id.UserID `json:"related_by_senders"`
	RelatedByRelTypes         []string    `json:"related_by_rel_types"`
	RelTypes                  []string    `json:"org.matrix.msc3874.rel_types"`     // MSC3874
	NotRelTypes               []string    `json:"org.matrix.msc3874.not_rel_types"` // MSC3874
}

// RoomFilter narrows the rooms of a sync.
type RoomFilter struct {
	Rooms        []id.RoomID     `json:"rooms"`
	NotRooms     []id.RoomID     `json:"not_rooms"`
	IncludeLeave bool            `json:"include_leave"`
	Timeline     RoomEventFilter `json:"timeline"`
	State        RoomEventFilter `json:"state"`
	Ephemeral    RoomEventFilter `json:"ephemeral"`
	AccountData  RoomEventFilter `json:"account_data"`
}

const (
	maxFilters = 1000 // of one user; clients make a handful
)

// ParseFilter reads a filter definition, stored or sent along with a sync.
func ParseFilter(raw []byte) (Filter, error) {
	var f Filter
	if len(raw) > limit.FilterBytes {
		return f, mxerr.TooLarge("Filter is too large")
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, mxerr.BadJSON("Invalid filter")
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return f, mxerr.BadJSON("Invalid event_format")
	}
	return f, nil
}

// DefineFilter stores a filter and gives its ID: a hash, so that clients that define the same filter at each start make
// one row. It never begins with a brace, which tells an ID from a definition. CS v1.16 #post_matrixclientv3useruseridfilter
func (k *Keeper) DefineFilter(ctx context.Context, user id.UserID, raw json.RawMessage) (string, error) {
	if _, err := ParseFilter(raw); err != nil {
		return "", err
	}
	definition, err := canonical.Append(nil, raw, canonical.Lenient)
	if err != nil {
		return "", mxerr.BadJSON("Invalid filter")
	}
	sum := sha256.Sum256(definition)
	filterID := base64.RawURLEncoding.EncodeToString(sum[:12])
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.CountFilters(ctx, user)
		if err != nil {
			return err
		}
		if n >= maxFilters {
			return mxerr.Forbidden("Too many filters")
		}
		return tx.PutFilter(ctx, user, filterID, definition)
	})
	if err != nil {
		return "", fmt.Errorf("store a filter: %w", err)
	}
	return filterID, nil
}

// FilterJSON reads a stored filter definition.
func (k *Keeper) FilterJSON(ctx context.Context, user id.UserID, filterID string) (raw json.RawMessage, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		raw, err = tx.Filter(ctx, user, filterID)
		return err
	})
	return raw, notFound(err, "No such filter")
}

// Filter reads what a client gives as its filter: the ID of a stored one, or a definition. "" means no filter.
func (k *Keeper) Filter(ctx context.Context, user id.UserID, given string) (Filter, error) {
	switch {
	case given == "":
		return Filter{}, nil
	case strings.HasPrefix(given, "{"):
		return ParseFilter([]byte(given))
	}
	raw, err := k.FilterJSON(ctx, user, given)
	if err != nil {
		return Filter{}, err
	}
	return ParseFilter(raw)
}
