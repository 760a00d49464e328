// Package id holds Matrix's identifiers as types of their own: parsed once at the edge, then compared and passed as
// plain strings. It checks grammar and length, never whether a thing exists. Values are immutable strings.
//
// Appendices v1.16 #identifier-grammar
package id

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the limit of every identifier in bytes, sigil and server name included. Appendices v1.16 #user-identifiers
const MaxLength = 255

type (
	ServerName string // matrix.org, matrix.org:8448, 1.2.3.4, [2001:db8::1]:8448
	UserID     string // @localpart:server
	RoomID     string // !opaque:server, from room version 12 on !hash
	EventID    string // $opaque:server in room versions 1 and 2, $hash later
	RoomAlias  string // #localpart:server
	DeviceID   string // opaque
	KeyID      string // algorithm:identifier, like ed25519:a_1
)

// Slot names one piece of room state: a state event replaces the earlier one in its slot.
type Slot struct{ Type, StateKey string }

// ErrInvalid is what every parse error of this package wraps.
var ErrInvalid = errors.New("invalid identifier")

func invalid(kind, why string) error {
	// The identifier itself stays out of the text: errors end up in logs, and identifiers are personal data.
	return fmt.Errorf("%s: %s: %w", kind, why, ErrInvalid)
}

// ParseUserID takes a user ID with any historical localpart, also an empty one: events with such senders exist, and a
// server that refuses them splits the room. Who makes new accounts asks ValidLocalpart.
// Appendices v1.16 #historical-user-ids
func ParseUserID(s string) (UserID, error) {
	if err := sigil("user id", s, '@'); err != nil {
		return "", err
	}
	if err := withServer("user id", s); err != nil {
		return "", err
	}
	return UserID(s), nil
}

// ParseRoomID takes a room ID with or without a server name; which of the two a room has follows from its version.
// Appendices v1.16 #room-ids
func ParseRoomID(s string) (RoomID, error) {
	if err := sigil("room id", s, '!'); err != nil {
		return "", err
	}
	if strings.IndexByte(s, ':') >= 0 {
		if err := withServer("room id", s); err != nil {
			return "", err
		}
	} else if len(s) == 1 {
		return "", invalid("room id", "empty")
	}
	return RoomID(s), nil
}

// ParseEventID takes an event ID of any room version. Appendices v1.16 #event-ids
func ParseEventID(s string) (EventID, error) {
	if err := sigil("event id", s, '$'); err != nil {
		return "", err
	}
	if len(s) == 1 {
		return "", invalid("event id", "empty")
	}
	return EventID(s), nil
}

// ParseRoomAlias takes a room alias. Appendices v1.16 #room-aliases
func ParseRoomAlias(s string) (RoomAlias, error) {
	if err := sigil("room alias", s, '#'); err != nil {
		return "", err
	}
	if err := withServer("room alias", s); err != nil {
		return "", err
	}
	return RoomAlias(s), nil
}

// ParseDeviceID takes what a client may call its device: any text without control characters. The empty one stands for
// "none given" in requests, so it passes.
func ParseDeviceID(s string) (DeviceID, error) {
	if len(s) > MaxLength {
		return "", invalid("device id", "longer than 255 bytes")
	}
	if !utf8.ValidString(s) {
		return "", invalid("device id", "not UTF-8")
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return "", invalid("device id", "control character")
		}
	}
	return DeviceID(s), nil
}

// ParseKeyID takes an algorithm and an identifier with a colon between. The identifier is kept loose, for it is also a
// device's name in device keys, and base64 in cross-signing keys. Appendices v1.16 #signing-details
func ParseKeyID(s string) (KeyID, error) {
	if len(s) > MaxLength {
		return "", invalid("key id", "longer than 255 bytes")
	}
	algorithm, identifier, found := strings.Cut(s, ":")
	if !found || algorithm == "" || identifier == "" {
		return "", invalid("key id", "not algorithm:identifier")
	}
	for i := 0; i < len(algorithm); i++ {
		if c := algorithm[i]; !lowerOrDigit(c) && c != '_' && c != '-' && c != '.' {
			return "", invalid("key id", "character in algorithm")
		}
	}
	if !utf8.ValidString(identifier) || strings.IndexByte(identifier, 0) >= 0 {
		return "", invalid("key id", "character in identifier")
	}
	return KeyID(s), nil
}

// sigil checks what all identifiers with a sigil share: first character, length, text.
func sigil(kind, s string, c byte) error {
	switch {
	case len(s) == 0 || s[0] != c:
		return invalid(kind, "does not start with "+string(rune(c)))
	case len(s) > MaxLength:
		return invalid(kind, "longer than 255 bytes")
	case strings.IndexByte(s, 0) >= 0:
		return invalid(kind, "contains NUL")
	case !utf8.ValidString(s):
		return invalid(kind, "not UTF-8")
	}
	return nil
}

// withServer checks the server name after the first colon; localparts contain none.
func withServer(kind, s string) error {
	i := strings.IndexByte(s, ':')
	if i < 0 {
		return invalid(kind, "no server name")
	}
	if _, err := ParseServerName(s[i+1:]); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// afterColon is the server name of an identifier, "" where there is none.
func afterColon(s string) ServerName {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		return ServerName(s[i+1:])
	}
	return ""
}

// Localpart is the part between sigil and server name.
func (u UserID) Localpart() string {
	i := strings.IndexByte(string(u), ':')
	if i < 1 {
		return ""
	}
	return string(u[1:i])
}

// Server is the homeserver that allocated the user ID.
func (u UserID) Server() ServerName { return afterColon(string(u)) }

// Compliant reports whether the user ID may be shown outside the context of an event: its localpart is not empty and
// printable ASCII. Appendices v1.16 #historical-user-ids
func (u UserID) Compliant() bool {
	local := u.Localpart()
	for i := 0; i < len(local); i++ {
		if local[i] < 0x21 || local[i] > 0x7e {
			return false
		}
	}
	return local != ""
}

// Server is the name in the room ID, "" from room version 12 on. It says nothing about who takes part in the room.
func (r RoomID) Server() ServerName { return afterColon(string(r)) }

// Create is the event ID of the create event of a room whose ID is its hash. RV 12 rule 2
func (r RoomID) Create() EventID {
	if r == "" {
		return ""
	}
	return EventID("$" + string(r[1:]))
}

// Server is the name in an event ID of room versions 1 and 2, else "".
func (e EventID) Server() ServerName { return afterColon(string(e)) }

// Server is the homeserver that keeps the alias.
func (a RoomAlias) Server() ServerName { return afterColon(string(a)) }

// Localpart is the part between sigil and server name.
func (a RoomAlias) Localpart() string {
	i := strings.IndexByte(string(a), ':')
	if i < 1 {
		return ""
	}
	return string(a[1:i])
}

// Algorithm is the part before the colon, like ed25519.
func (k KeyID) Algorithm() string {
	algorithm, _, _ := strings.Cut(string(k), ":")
	return algorithm
}

// Identifier is the part after the colon: a key's version or a device's ID.
func (k KeyID) Identifier() string {
	_, identifier, _ := strings.Cut(string(k), ":")
	return identifier
}

// ValidLocalpart reports whether a new account may have this localpart. The length limit of the whole ID is checked
// where the server name is known, by NewUserID. Appendices v1.16 #user-identifiers
func ValidLocalpart(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case lowerOrDigit(c), c == '.', c == '_', c == '=', c == '-', c == '/', c == '+':
		default:
			return false
		}
	}
	return s != ""
}

func lowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
