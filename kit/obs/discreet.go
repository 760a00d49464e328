package obs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"regexp"
	"strings"
)

// discreet is the last thing before a line is written: it takes out what an error carries of people, rooms and addresses. Whoever
// logs leaves such things out in the first place; but an error from deep below says what it was about, and some of them
// quote a stranger.
type discreet struct {
	next slog.Handler
	key  []byte
}

var (
	// private finds the identifiers of Matrix: with a server's name, or made of a hash.
	private = regexp.MustCompile(`[@!#$][^\s"'<>,;()\\]*:[A-Za-z0-9.\-]+(:\d+)?|[$!][A-Za-z0-9+/_-]{43}`)
	// address finds numeric addresses of the network.
	address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%a-z]*\](:\d+)?`)
)

// Enabled asks the next handler.
func (d discreet) Enabled(ctx context.Context, l slog.Level) bool { return d.next.Enabled(ctx, l) }

// Handle cleans a line and hands it on. Nearly all lines are clean: they name a route and a status.
func (d discreet) Handle(ctx context.Context, r slog.Record) error {
	clear := true
	r.Attrs(func(a slog.Attr) bool {
		clear = a.Value.Kind() != slog.KindAny && a.Value.Kind() != slog.KindGroup && a.Value.Kind() != slog.KindLogValuer &&
			(a.Value.Kind() != slog.KindString || !suspect(a.Value.String()))
		return clear
	})
	if clear {
		return d.next.Handle(ctx, r)
	}
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(d.clean(a))
		return true
	})
	return d.next.Handle(ctx, clean)
}

// WithAttrs cleans what all lines of a logger will carry.
func (d discreet) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = d.clean(a)
	}
	return discreet{d.next.WithAttrs(clean), d.key}
}

// WithGroup opens a group.
func (d discreet) WithGroup(name string) slog.Handler { return discreet{d.next.WithGroup(name), d.key} }

func (d discreet) clean(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindGroup:
		group := make([]slog.Attr, 0, len(a.Value.Group()))
		for _, inner := range a.Value.Group() {
			group = append(group, d.clean(inner))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	case slog.KindString, slog.KindAny:
		if a.Key == KeyAddress { // ours
			return a
		}
		text := a.Value.String()
		if found := d.text(text); found != text {
			return slog.String(a.Key, found)
		}
	}
	return a
}

// suspect says whether a text may hold what private or address finds: looking for a byte is a tenth of the work.
func suspect(s string) bool { return strings.ContainsAny(s, "@!#$.[") }

func (d discreet) text(s string) string {
	if !suspect(s) {
		return s
	}
	s = private.ReplaceAllStringFunc(s, d.pseudonym)
	return address.ReplaceAllString(s, "(address)")
}

// pseudonym names the same person or room alike in all lines of a run, and nobody can tell who it is, nor try out who it might be.
func (d discreet) pseudonym(id string) string {
	mac := hmac.New(sha256.New, d.key)
	_, _ = mac.Write([]byte(id)) // never fails
	return id[:1] + hex.EncodeToString(mac.Sum(nil)[:6])
}
