package id

import (
	"net/netip"
	"strings"
)

// ParseServerName takes a DNS name, an IPv4 or a bracketed IPv6 literal, each with an optional port. Case is kept: two
// names that differ in case are two servers. Appendices v1.16 #server-name
func ParseServerName(s string) (ServerName, error) {
	if s == "" || len(s) > MaxLength {
		return "", invalid("server name", "empty or longer than 255 bytes")
	}
	host, port, hasPort := splitPort(s)
	if hasPort && !validPort(port) {
		return "", invalid("server name", "port")
	}
	if strings.HasPrefix(host, "[") {
		if !validIPv6(host) {
			return "", invalid("server name", "IPv6 address")
		}
		return ServerName(s), nil
	}
	if host == "" {
		return "", invalid("server name", "no host")
	}
	for i := 0; i < len(host); i++ {
		switch c := host[i]; {
		case lowerOrDigit(c), 'A' <= c && c <= 'Z', c == '-', c == '.':
		default:
			return "", invalid("server name", "character")
		}
	}
	return ServerName(s), nil
}

// Host is the server name without its port; an IPv6 address keeps its brackets.
func (n ServerName) Host() string {
	host, _, _ := splitPort(string(n))
	return host
}

// Port is the explicit port, "" if there is none.
func (n ServerName) Port() string {
	_, port, _ := splitPort(string(n))
	return port
}

// IP is the address of a server name that is an IP literal. SS v1.16 #resolving-server-names step 1, and server ACLs.
func (n ServerName) IP() (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(n.Host(), "[]"))
	return addr, err == nil
}

func splitPort(s string) (host, port string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || i < strings.LastIndexByte(s, ']') {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func validPort(s string) bool {
	if len(s) < 1 || len(s) > 5 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// validIPv6 checks "[…]". A zone ("%eth0") is outside the grammar and means something on one machine only.
func validIPv6(s string) bool {
	if !strings.HasSuffix(s, "]") {
		return false
	}
	addr, err := netip.ParseAddr(s[1 : len(s)-1])
	return err == nil && addr.Is6() && addr.Zone() == ""
}
