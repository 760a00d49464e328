package ssclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"konsil/kit/dial"
	"konsil/matrix/id"
)

// dialer connects to hosts, and to nothing inside our own network: the address is checked at the moment of connecting,
// when no redirect, SRV record or second DNS answer can change it any more (A30).
type dialer struct {
	dns          DNS
	roots        *x509.CertPool
	allowPrivate bool
	timeout      time.Duration
}

// dialServer connects to a homeserver; addr comes from target, where port 0 stands for "to be discovered".
func (n *Network) dialServer(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ConnectTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	hops := []hop{{host, port}}
	if port == undiscovered {
		hops = n.resolver.discover(ctx, host)
	}
	var failed error
	for _, h := range hops {
		conn, err := n.dialer.dialHop(ctx, h)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		// The certificate is for the name we asked for, wherever SRV sent us. SS v1.16 #resolving-server-names
		return n.dialer.handshake(ctx, conn, host)
	}
	return nil, failed
}

// dialWeb connects to an ordinary HTTPS server.
func (d *dialer) dialWeb(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.dialAddr(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(addr)
	return d.handshake(ctx, conn, host)
}

func (d *dialer) dialAddr(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return d.dialHop(ctx, hop{host, port})
}

func (d *dialer) handshake(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	secure := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: d.roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// maxAddresses bounds how many addresses of one host are tried: a name with a thousand dead ones must not cost minutes.
const maxAddresses = 4

// dialHop tries a host's addresses one after the other within the time of ctx.
func (d *dialer) dialHop(ctx context.Context, h hop) (net.Conn, error) {
	addrs, err := d.addresses(ctx, h.host)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(h.port, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("port %q", cut(h.port, 8))
	}
	var failed error
	for i, addr := range addrs[:min(len(addrs), maxAddresses)] {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if i < len(addrs)-1 {
			attempt, cancel = context.WithTimeout(ctx, d.timeout/maxAddresses)
		}
		conn, err := (&net.Dialer{Control: d.control, KeepAlive: 30 * time.Second}).DialContext(attempt, "tcp", netip.AddrPortFrom(addr, uint16(port)).String())
		cancel()
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// addresses finds a host's addresses. Names below localhost are this machine, whatever DNS says. RFC 6761 6.3
func (d *dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	addrs, err := d.dns.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("look up addresses: %w", err)
	}
	if len(addrs) == 0 {
		return nil, errors.New("look up addresses: none")
	}
	return addrs, nil
}

// control is called with the address of each connection before it is made.
func (d *dialer) control(network, address string, c syscall.RawConn) error {
	if d.allowPrivate {
		return nil
	}
	return dial.RefusePrivate(network, address, c)
}

// undiscovered is the port of a target whose port is up to SRV records or the default.
const undiscovered = "0"

// target is the key under which connections to a (delegated) server name are kept: its host, and its port if it has one.
// An IP literal has the default port and needs no discovery. SS v1.16 #resolving-server-names steps 1, 2, 3.1, 3.2
func target(name id.ServerName) string {
	host, port := strings.Trim(name.Host(), "[]"), name.Port()
	if port == "" {
		port = undiscovered
		if _, literal := name.IP(); literal {
			port = defaultPort
		}
	}
	return net.JoinHostPort(host, port)
}
