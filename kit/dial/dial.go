// Package dial keeps connections to foreign hosts from leading into our own network. The check is made with the address that
// is being connected to, after names are resolved and at each hop, so that no DNS answer, redirect or SRV record gets around
// it. It makes no connections itself; everything is safe for concurrent use.
package dial

import (
	"errors"
	"net/netip"
	"syscall"
)

// ErrPrivate is the refusal to connect to an address that is not a public one.
var ErrPrivate = errors.New("address is not a public one")

// RefusePrivate is the Control of a net.Dialer that reaches public addresses only.
func RefusePrivate(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !Public(addr.Addr()) {
		return ErrPrivate
	}
	return nil
}

// notPublic are the ranges that lead to ourselves, our own network or nowhere, beyond those netip knows by name.
// https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-
var notPublic = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10")

// embedding are IPv6 ranges that carry an IPv4 address, and where it starts: it is checked as well.
var embedding = []struct {
	prefix netip.Prefix
	offset int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Public reports whether an address may belong to somebody else's server.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false // global unicast excludes loopback, link-local, multicast, unspecified
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	if addr.Is6() {
		raw := addr.As16()
		for _, e := range embedding {
			if e.prefix.Contains(addr) && !Public(netip.AddrFrom4([4]byte(raw[e.offset:e.offset+4]))) {
				return false
			}
		}
	}
	return true
}
