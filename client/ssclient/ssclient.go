// Package ssclient speaks the Server-Server API to other homeservers: it finds them, connects to them safely, signs
// requests and reads answers within bounds, one method per endpoint. It verifies no events, keeps no queue and retries
// nothing: that is homeserver/federation's work. A Network is what all domains of a process share on their way out, a
// Client is one domain's use of it. Both are safe for concurrent use.
//
// What another server answers is never taken for our own refusal: a status outside 2xx becomes an *Error, no answer
// becomes an *Unreachable, nonsense becomes a *Malformed.
package ssclient

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"time"

	"konsil/kit/clock"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// DNS is the part of net.Resolver that finding servers takes. Tests answer it themselves.
type DNS interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NetworkConfig says how a process reaches other servers. The zero value suits production.
type NetworkConfig struct {
	DNS          DNS            // nil: the system's resolver
	Roots        *x509.CertPool // nil: the system's, or those of SSL_CERT_FILE
	AllowPrivate bool           // connect to loopback and private addresses too: development and tests only
	Clock        clock.Clock    // nil: the system's
	UserAgent    string         // "" sends "Konsil"

	// Local gives the federation handler of a domain of this very process, nil for others. Requests to it are handed over
	// in memory, signed and checked like any other.
	Local func(id.ServerName) http.Handler

	ConnectTimeout time.Duration // for DNS, TCP and TLS together; zero: 10 s
	MaxConnections int           // to one server at a time; zero: 8
}

// Network finds servers and holds the connections to them.
type Network struct {
	cfg       NetworkConfig
	resolver  *resolver
	dialer    *dialer
	transport *http.Transport // to homeservers: their names are resolved by the rules of the specification
	web       *http.Transport // to ordinary web servers: well-known files, media behind a redirect
}

// NewNetwork makes a Network. It opens nothing yet.
func NewNetwork(cfg NetworkConfig) *Network {
	if cfg.DNS == nil {
		cfg.DNS = net.DefaultResolver
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "Konsil"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 8
	}
	n := &Network{cfg: cfg, dialer: &dialer{dns: cfg.DNS, roots: cfg.Roots, allowPrivate: cfg.AllowPrivate, timeout: cfg.ConnectTimeout}}
	n.web = &http.Transport{
		DialContext:            n.dialer.dialAddr,
		DialTLSContext:         n.dialer.dialWeb,
		MaxIdleConns:           32,
		IdleConnTimeout:        15 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
	n.resolver = newResolver(cfg.DNS, n.web, cfg.Clock)
	n.transport = &http.Transport{
		// HTTP/1.1 costs a third of HTTP/2's CPU here, and one request at a time per server is the rule.
		DialTLSContext:         n.dialServer,
		MaxConnsPerHost:        cfg.MaxConnections,
		MaxIdleConnsPerHost:    4,
		MaxIdleConns:           1024,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        8 << 10,
	}
	return n
}

// maxHeader bounds the header of an answer; Go's own limit is 10 MB.
const maxHeader = 64 << 10

// Close drops idle connections. Requests under way are not touched.
func (n *Network) Close() {
	n.transport.CloseIdleConnections()
	n.web.CloseIdleConnections()
}

// Config makes one domain's client.
type Config struct {
	Server  id.ServerName // who we are
	Key     sign.Key      // signs our requests
	Network *Network
}

// Client sends one domain's requests.
type Client struct {
	server id.ServerName
	key    sign.Key
	net    *Network
}

// New makes a Client.
func New(cfg Config) *Client {
	return &Client{server: cfg.Server, key: cfg.Key, net: cfg.Network}
}

// Server is the name the client signs for.
func (c *Client) Server() id.ServerName { return c.server }
