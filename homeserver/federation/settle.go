package federation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"konsil/homeserver/room"
	"konsil/matrix/id"
)

// settlePatience is how long a handshake waits for older events to arrive.
const settlePatience = 2 * time.Second

// settle waits until a server has what it had to be told of a room. Handshakes do not go through the queues and may overtake
// them: a server that gets a leave after the join that followed it takes the user for gone, and one that gets an unban after
// an invite takes the invite for taken back. A server that can not be reached is not waited for, nor a slow one for long.
func (f *Federation) settle(ctx context.Context, server id.ServerName, roomID id.RoomID) error {
	info, err := f.cfg.Rooms.Room(ctx, roomID)
	if errors.Is(err, room.ErrUnknownRoom) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("last position of a room: %w", err)
	}
	timer := f.cfg.Clock.NewTimer(settlePatience)
	defer timer.Stop()
	for {
		progress := f.Sender.unsettled(server, roomID, info.LastPos)
		if progress == nil {
			return nil
		}
		select {
		case <-progress:
		case <-timer.C():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unsettled is nil if a server has a room's events up to a position or will not get them soon; else it is closed when the
// sender got somewhere.
func (s *Sender) unsettled(server id.ServerName, roomID id.RoomID, upTo int64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dests[server]
	switch {
	case s.spawn == nil, d != nil && d.failures > 0:
		return nil
	case s.read[streamEvents] < upTo, d != nil && d.owes(roomID, upTo):
		if s.progress == nil {
			s.progress = make(chan struct{})
		}
		return s.progress
	}
	return nil
}

// owes reports whether events of a room, up to a position, are on their way to the server. Needs mu.
func (d *destination) owes(roomID id.RoomID, upTo int64) bool {
	if d.stored {
		return true // the rows are not looked into
	}
	for _, list := range [][]item{d.inFlight, d.items, d.parked} {
		for _, it := range list {
			if it.event != nil && it.pos <= upTo && it.event.RoomID == roomID {
				return true
			}
		}
	}
	return false
}

// progressed tells those who settle to look again. Needs mu.
func (s *Sender) progressed() {
	if s.progress != nil {
		close(s.progress)
		s.progress = nil
	}
}
