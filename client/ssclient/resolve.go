package ssclient

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"konsil/kit/clock"
	"konsil/matrix/id"
)

// defaultPort is where a server listens that says nothing else. SS v1.16 #resolving-server-names step 6
const defaultPort = "8448"

// hop is a host and port to connect to.
type hop struct{ host, port string }

// resolver turns server names into places to connect to, and remembers what it found. SS v1.16 #resolving-server-names
type resolver struct {
	dns   DNS
	web   http.RoundTripper
	clock clock.Clock
	port  string // of well-known files: 443, another in tests
	group singleflight.Group

	mu        sync.Mutex
	wellKnown map[string]wellKnown // by host, guarded by mu
	srv       map[string]srvAnswer // by host, guarded by mu
}

type srvAnswer struct {
	hops    []hop // empty: there is no record
	expires time.Time
}

// maxRemembered bounds both caches, in entries of some 200 bytes.
const maxRemembered = 20_000

const (
	srvLifetime  = 5 * time.Minute  // Go's resolver does not tell the records' own
	srvErrorLife = 30 * time.Second // after a DNS server failed us
	srvTimeout   = 3 * time.Second  // for both records together; the default port is tried afterwards
)

func newResolver(dns DNS, web http.RoundTripper, c clock.Clock) *resolver {
	return &resolver{dns: dns, web: web, clock: c, port: "443", wellKnown: map[string]wellKnown{}, srv: map[string]srvAnswer{}}
}

// delegate follows the well-known file of a server name that has neither port nor IP address, steps 1 to 3. The name it
// returns is the one that certificate and Host header have to show.
func (r *resolver) delegate(ctx context.Context, name id.ServerName) (id.ServerName, error) {
	if _, literal := name.IP(); literal || name.Port() != "" {
		return name, nil
	}
	host := strings.ToLower(name.Host())
	found, err := r.lookupWellKnown(ctx, host)
	if err != nil {
		return "", err
	}
	if found != "" {
		return found, nil
	}
	return name, nil
}

// discover gives the places to try for a host without port, best first: steps 3.3 to 6. A host whose SRV records can not
// be asked for is tried at the default port, so that a broken resolver is no outage.
func (r *resolver) discover(ctx context.Context, host string) []hop {
	host = strings.ToLower(host)
	fallback := []hop{{host, defaultPort}}
	r.mu.Lock()
	known, ok := r.srv[host]
	r.mu.Unlock()
	if !ok || !r.clock.Now().Before(known.expires) {
		known = r.lookupSRV(ctx, host)
		r.mu.Lock()
		makeRoom(r.srv)
		r.srv[host] = known
		r.mu.Unlock()
	}
	if len(known.hops) == 0 {
		return fallback
	}
	return known.hops
}

// lookupSRV asks for the registered service first, then for the deprecated one.
func (r *resolver) lookupSRV(ctx context.Context, host string) srvAnswer {
	answer := srvAnswer{expires: r.clock.Now().Add(srvLifetime)}
	if strings.HasSuffix(host, "localhost") {
		return answer // DNS knows nothing about this machine
	}
	ctx, cancel := context.WithTimeout(ctx, srvTimeout)
	defer cancel()
	for _, service := range []string{"matrix-fed", "matrix"} {
		_, records, err := r.dns.LookupSRV(ctx, service, "tcp", host)
		if err != nil && !notFound(err) {
			answer.expires = r.clock.Now().Add(srvErrorLife)
		}
		for _, record := range records[:min(len(records), maxAddresses)] {
			if name := strings.TrimSuffix(record.Target, "."); name != "" { // "." means: no such service
				answer.hops = append(answer.hops, hop{name, strconv.Itoa(int(record.Port))})
			}
		}
		if len(records) > 0 {
			return answer
		}
	}
	return answer
}

func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// makeRoom throws out some entry of a full cache. Which one hardly matters: an attacker who fills it costs others a lookup.
func makeRoom[V any](cache map[string]V) {
	for host := range cache {
		if len(cache) < maxRemembered {
			return
		}
		delete(cache, host)
	}
}
