package ssclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"konsil/matrix/id"
)

// wellKnown is what we know of a host's well-known file.
type wellKnown struct {
	server   id.ServerName // "": the host delegates to nobody, or the file could not be had
	expires  time.Time
	trusted  time.Time // until then a good answer outlives errors of the host
	failures int
}

// Bounds of the time an answer is believed. The upper one limits what a hijacked host can poison, the lower one keeps a
// host without caching headers from costing a request per transaction. SS v1.16 #resolving-server-names step 3
const (
	wellKnownDefault   = 24 * time.Hour
	wellKnownMin       = 5 * time.Minute
	wellKnownMax       = 48 * time.Hour
	wellKnownErrorMin  = time.Minute
	wellKnownErrorMax  = time.Hour
	wellKnownTimeout   = 8 * time.Second
	wellKnownSize      = 48 << 10
	wellKnownRedirects = 5
)

// lookupWellKnown gives the name a host delegates to, "" for none.
func (r *resolver) lookupWellKnown(ctx context.Context, host string) (id.ServerName, error) {
	r.mu.Lock()
	known, ok := r.wellKnown[host]
	r.mu.Unlock()
	if ok && r.clock.Now().Before(known.expires) {
		return known.server, nil
	}
	// Whoever asks first asks for all; the request does not end when that one loses patience.
	answer := r.group.DoChan(host, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wellKnownTimeout)
		defer cancel()
		return r.refresh(ctx, host, known), nil
	})
	select {
	case result := <-answer:
		return result.Val.(wellKnown).server, result.Err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (r *resolver) refresh(ctx context.Context, host string, old wellKnown) wellKnown {
	server, lifetime, err := r.fetchWellKnown(ctx, host)
	now := r.clock.Now()
	fresh := wellKnown{server: server, expires: now.Add(lifetime), trusted: now.Add(wellKnownMax)}
	if err != nil {
		pause := min(wellKnownErrorMin<<min(old.failures, 10), wellKnownErrorMax)
		fresh = wellKnown{expires: now.Add(pause), failures: old.failures + 1}
		if now.Before(old.trusted) {
			fresh.server, fresh.trusted = old.server, old.trusted
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	makeRoom(r.wellKnown)
	r.wellKnown[host] = fresh
	return fresh
}

// fetchWellKnown gets the file, following redirects by hand: only to https, not too often, each hop with the address check.
func (r *resolver) fetchWellKnown(ctx context.Context, host string) (id.ServerName, time.Duration, error) {
	at := &url.URL{Scheme: "https", Host: host, Path: "/.well-known/matrix/server"}
	if r.port != "443" {
		at.Host = net.JoinHostPort(host, r.port)
	}
	for range wellKnownRedirects + 1 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return "", 0, err
		}
		req.Close = true // a file fetched once a day needs no open connection
		resp, err := r.web.RoundTrip(req)
		if err != nil {
			return "", 0, fmt.Errorf("fetch well-known file: %w", err)
		}
		next, server, lifetime, err := r.readWellKnown(at, resp)
		resp.Body.Close()
		if err != nil || next == nil {
			return server, lifetime, err
		}
		at = next
	}
	return "", 0, errors.New("fetch well-known file: too many redirects")
}

func (r *resolver) readWellKnown(at *url.URL, resp *http.Response) (*url.URL, id.ServerName, time.Duration, error) {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		next, err := at.Parse(resp.Header.Get("Location"))
		if err != nil || next.Scheme != "https" || next.Host == "" || resp.Header.Get("Location") == "" {
			return nil, "", 0, errors.New("fetch well-known file: bad redirect")
		}
		return next, "", 0, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", 0, fmt.Errorf("fetch well-known file: status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, wellKnownSize+1))
	if err != nil {
		return nil, "", 0, fmt.Errorf("read well-known file: %w", err)
	}
	server, err := parseWellKnown(body)
	return nil, server, lifetime(resp.Header, r.clock.Now()), err
}

// parseWellKnown takes the server name out of the file, whatever its content type says.
func parseWellKnown(body []byte) (id.ServerName, error) {
	if len(body) > wellKnownSize {
		return "", errors.New("well-known file: too large")
	}
	var file struct {
		Server string `json:"m.server"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return "", fmt.Errorf("well-known file: %w", err)
	}
	server, err := id.ParseServerName(file.Server)
	if err != nil {
		return "", fmt.Errorf("well-known file: %w", err)
	}
	return server, nil
}

// lifetime is how long an answer may be believed by its caching headers, within our bounds.
func lifetime(h http.Header, now time.Time) time.Duration {
	life := wellKnownDefault
	if expires, err := http.ParseTime(h.Get("Expires")); err == nil {
		life = expires.Sub(now)
	}
	for _, directive := range strings.Split(strings.ToLower(strings.Join(h.Values("Cache-Control"), ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				life = time.Duration(seconds) * time.Second
			}
		case "no-store", "no-cache":
			return wellKnownMin
		}
	}
	return max(wellKnownMin, min(life, wellKnownMax))
}
