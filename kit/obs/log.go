// Package obs is how the program can be watched: structured logs without personal data, a few metrics, and an operator's
// HTTP surface on a port of its own. It decides nothing. Everything here is safe for concurrent use.
package obs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// Keys of log attributes. A line takes its keys from here, so that an operator can search for them. There is none for the
// ids of people and rooms: people appear as a Pseudonym.
const (
	KeyHouse       = "house"       // homeserver, proxy, …
	KeyDomain      = "domain"      // a Matrix server name of ours
	KeyDestination = "destination" // a Matrix server name of others
	KeyPerson      = "person"      // a Pseudonym
	KeyRoute       = "route"       // a path with {parameters}
	KeyMethod      = "method"
	KeyStatus      = "status"
	KeyError       = "error"
	KeyCode        = "code" // of a refusal
	KeyJob         = "job"
	KeyCount       = "count"
	KeyBytes       = "bytes"
	KeyMillis      = "ms"
	KeyVersion     = "version"
	KeyAddress     = "address" // one that we listen on, never a client's
)

// NewLogger writes lines to w: as "text" or "json", from a level on ("debug", "info", "warn", "error"). Empty means text and
// info.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var opts slog.HandlerOptions
	if level != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
		}
		opts.Level = l
	}
	switch format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, &opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &opts)), nil
	}
	return nil, fmt.Errorf("log format %q: want text or json", format)
}

// Pseudonyms names people in logs: the same person has the same name in all lines, and nobody without the key can tell who
// it is, nor try out who it might be.
type Pseudonyms struct{ key []byte }

// NewPseudonyms uses a secret key; 32 random bytes, kept as long as logs are to be compared.
func NewPseudonyms(key []byte) Pseudonyms { return Pseudonyms{append([]byte(nil), key...)} }

// Person is the attribute for somebody's id.
func (p Pseudonyms) Person(id string) slog.Attr {
	mac := hmac.New(sha256.New, p.key)
	_, _ = mac.Write([]byte(id)) // never fails
	return slog.String(KeyPerson, hex.EncodeToString(mac.Sum(nil)[:8]))
}
