package auth

import (
	"strings"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// ServerACL says which servers may take part in a room: an m.room.server_acl event, compiled. It is no authorisation
// rule: it guards the door of the federation API. A nil *ServerACL lets everybody in.
// CS v1.16 #mroomserver_acl, SS v1.16 #server-access-control-lists-acls
type ServerACL struct {
	denyIPs     bool
	deny, allow globs
	overfull    bool
}

// maxGlobs caps the patterns of both lists together. An event within its size limit can hold about as many of one
// letter. One that holds more keeps everybody out, like one without an allow list: half a deny list would be worse.
const maxGlobs = 16384

// ParseServerACL compiles the content of an m.room.server_acl event. It never fails: entries that are no strings match
// nothing. MSC4436: case does not count.
func ParseServerACL(content []byte) *ServerACL {
	acl := &ServerACL{}
	left := maxGlobs
	list := func(g *globs, value []byte) {
		_ = canonical.Array(value, func(value []byte) error {
			if left--; left < 0 {
				acl.overfull = true
				return errStop
			}
			if pattern, ok := canonical.String(value); ok {
				g.add(strings.ToLower(pattern))
			}
			return nil
		})
	}
	_ = canonical.Object(content, func(key string, value []byte) error {
		switch key {
		case "allow_ip_literals":
			acl.denyIPs = string(value) == "false"
		case "allow":
			list(&acl.allow, value)
		case "deny":
			list(&acl.deny, value)
		}
		return nil
	})
	return acl
}

// Allows reports whether a server may take part. The steps are those of CS v1.16 #mroomserver_acl
func (a *ServerACL) Allows(server id.ServerName) bool {
	if a == nil { // 1
		return true
	}
	if a.overfull {
		return false
	}
	if _, ip := server.IP(); ip && a.denyIPs { // 2
		return false
	}
	host := strings.ToLower(server.Host())
	if a.deny.match(host) { // 3
		return false
	}
	return a.allow.match(host) // 4 and 5
}

// globs is a set of patterns. Nearly all that occur in rooms are plain names or "*.name"; these cost a look-up, however
// many there are.
type globs struct {
	all    bool                // "*"
	exact  map[string]struct{} // without wildcards
	suffix map[string]struct{} // after a leading "*", starting with a dot and without wildcards
	other  []string
}

func (g *globs) add(pattern string) {
	pattern = collapse(pattern)
	rest := strings.TrimPrefix(pattern, "*")
	switch {
	case pattern == "*":
		g.all = true
	case len(strings.ReplaceAll(pattern, "*", "")) > id.MaxLength:
		// No server name is that long.
	case !strings.ContainsAny(pattern, "*?"):
		put(&g.exact, pattern)
	case strings.HasPrefix(rest, ".") && len(rest) < len(pattern) && !strings.ContainsAny(rest, "*?"):
		put(&g.suffix, rest)
	default:
		g.other = append(g.other, pattern)
	}
}

func put(set *map[string]struct{}, s string) {
	if *set == nil {
		*set = make(map[string]struct{})
	}
	(*set)[s] = struct{}{}
}

// collapse makes one star of several in a row.
func collapse(pattern string) string {
	for strings.Contains(pattern, "**") {
		pattern = strings.ReplaceAll(pattern, "**", "*")
	}
	return pattern
}

func (g *globs) match(host string) bool {
	if g.all {
		return true
	}
	if _, found := g.exact[host]; found {
		return true
	}
	if len(g.suffix) > 0 {
		for i := 0; i < len(host); i++ {
			if host[i] == '.' {
				if _, found := g.suffix[host[i:]]; found {
					return true
				}
			}
		}
	}
	for _, pattern := range g.other {
		if glob(pattern, host) {
			return true
		}
	}
	return false
}

// glob matches a pattern of * and ? in one walk: where a star was too short it grows by one, and only the last star needs
// to be tried again. At worst len(pattern) × len(s) steps. Appendices v1.16 #glob-style-matching
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
