package homeserver

import (
	"fmt"

	"konsil/matrix/id"
)

// Flavour says by whose rules a domain lives.
type Flavour string

// The flavours. Pro and EPA are gematik's product types; Ordinary is a Matrix server without their rules.
const (
	Ordinary Flavour = "open" // Matrix alone: tests, other federations, comparison with other servers
	Pro      Flavour = "pro"  // TI-M Pro: hospitals, practices, pharmacies
	EPA      Flavour = "epa"  // TI-M ePA: an insurer's insured persons
)

// ParseFlavour reads a flavour as configuration files write it.
func ParseFlavour(s string) (Flavour, error) {
	switch f := Flavour(s); f {
	case Ordinary, Pro, EPA:
		return f, nil
	}
	return "", fmt.Errorf("flavour %q is none of open, pro, epa", s)
}

// defaultRoomVersion is what rooms get whose creator asks for none. The TI-Messenger's specifications stay at 10.
func (f Flavour) defaultRoomVersion() string {
	if f == Ordinary {
		return "11"
	}
	return "10"
}

// UserID names a user of a domain.
func UserID(localpart string, domain id.ServerName) id.UserID {
	return id.UserID("@" + localpart + ":" + string(domain))
}
