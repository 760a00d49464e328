// Package obs is how the program can be watched: structured logs without personal data, a few metrics, and an operator's
// HTTP surface on a port of its own. It decides nothing. Everything here is safe for concurrent use.
package obs

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// Keys of log attributes. A line takes its keys from here, so that an operator can search for them. There is none for the
// ids of people and rooms.
const (
	KeyDomain   = "domain" // a Matrix server name of ours
	KeyRoute    = "route"  // a path with {parameters}
	KeyMethod   = "method"
	KeyStatus   = "status"
	KeyError    = "error"
	KeyCode     = "code" // of a refusal
	KeyType     = "type" // of an event or EDU
	KeyJob      = "job"
	KeyFailures = "failures" // in a row
	KeyCount    = "count"
	KeyBytes    = "bytes"
	KeyMillis   = "ms"
	KeyAddress  = "address" // one that we listen on, never a client's
	KeyService  = "service" // id of an application service
)

// NewLogger writes lines to w: as "text" or "json", from a level on ("debug", "info", "warn", "error"). Empty means text and
// info. Identifiers of people and rooms, which errors may carry, are replaced by pseudonyms that hold until the process ends.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var opts slog.HandlerOptions
	if level != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
		}
		opts.Level = l
	}
	key := []byte(rand.Text())
	switch format {
	case "", "text":
		return slog.New(discreet{slog.NewTextHandler(w, &opts), key}), nil
	case "json":
		return slog.New(discreet{slog.NewJSONHandler(w, &opts), key}), nil
	}
	return nil, fmt.Errorf("log format %q: want text or json", format)
}
