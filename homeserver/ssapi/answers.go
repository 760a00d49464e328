package ssapi

import (
	"net"
	"net/http"

	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// pieces is an answer put together from ready bytes. Events are referred to, never copied or decoded, so the answer to the
// join of a large room costs a slice of slices.
type pieces struct {
	parts net.Buffers
	size  int64
}

func (p *pieces) add(b []byte) {
	p.parts = append(p.parts, b)
	p.size += int64(len(b))
}

func (p *pieces) text(s string) { p.add([]byte(s)) }

// events adds a JSON array of events.
func (p *pieces) events(evs []*room.Event) {
	p.text("[")
	for i, ev := range evs {
		if i > 0 {
			p.text(",")
		}
		p.add(ev.JSON)
	}
	p.text("]")
}

func (p *pieces) stream() *web.Stream {
	return &web.Stream{Header: http.Header{"Content-Type": {"application/json"}}, Size: p.size, Body: &p.parts}
}

// eventIDs writes a JSON array of the events' IDs.
func eventIDs(dst []byte, evs []*room.Event) []byte {
	dst = append(dst, '[')
	for i, ev := range evs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canonical.AppendString(dst, ev.ID)
	}
	return append(dst, ']')
}

func appendNames(dst []byte, servers []id.ServerName) []byte {
	dst = append(dst, '[')
	for i, server := range servers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canonical.AppendString(dst, server)
	}
	return append(dst, ']')
}
