package account

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"konsil/homeserver/store"
)

// seenDelay is how long the last-seen data of devices stays in memory. It is for people who look through their devices:
// minutes do not matter to them, and a write with each request would.
const seenDelay = 5 * time.Minute

// origin is where a request came from.
type origin struct {
	addr  netip.Addr
	agent string
}

const maxAgent = 200

// Seen notes that a caller's device made a request. It is written later; a crash forgets a few minutes.
func (k *Keeper) Seen(caller Caller, addr netip.Addr, agent string) {
	s := caller.session
	if s == nil {
		return
	}
	s.seen.Store(k.now())
	if last := s.from.Load(); last == nil || last.addr != addr || last.agent != agent {
		s.from.Store(&origin{addr, agent})
	}
}

// Flush writes what Seen noted, in small transactions that nobody has to wait for. Run calls it.
func (k *Keeper) Flush(ctx context.Context) error {
	pending := k.tokens.unwritten()
	const chunk = 50
	for len(pending) > 0 {
		part := pending[:min(chunk, len(pending))]
		pending = pending[len(part):]
		times := make([]int64, len(part))
		for i, s := range part {
			times[i] = s.seen.Load()
		}
		err := k.Store.Write(ctx, func(tx *store.Tx) error {
			for i, s := range part {
				if err := tx.SawDevice(ctx, s.device(times[i])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write when devices were last seen: %w", err)
		}
		for i, s := range part {
			s.written.Store(times[i])
		}
	}
	return nil
}

func (s *session) device(seen int64) store.Device {
	d := store.Device{User: s.caller.User, ID: s.caller.Device, LastSeen: seen}
	if from := s.from.Load(); from != nil {
		d.LastSeenIP = from.addr.String()
		// The header is the client's text: bounded, and without what a database or a terminal chokes on.
		agent := from.agent[:min(len(from.agent), maxAgent)]
		d.LastSeenAgent = strings.Map(printable, strings.ToValidUTF8(agent, ""))
	}
	return d
}

func printable(r rune) rune {
	if r < 0x20 || r == 0x7f {
		return -1
	}
	return r
}
