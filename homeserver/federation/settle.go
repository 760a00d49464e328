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

// settle waits until a server has what it had to be told before. Handshakes do not go through the queues and may overtake
// them: a server that gets a leave after the join that followed it takes the user for gone, and one that has not heard that
// the user is in one room will not let them into another for it. All rooms count, but of what happened a moment ago only this
// one's events are known to be in the queues. A server that can not be reached is not waited for, nor a slow one for long.
func (f *Federation) settle(ctx context.Context, server id.ServerName, roomID id.RoomID) error {
	now := f.cfg.Store.Position()
	info, err := f.cfg.Rooms.Room(ctx, roomID)
	if err != nil && !errors.Is(err, room.ErrUnknownRoom) {
		return fmt.Errorf("last position of a room: %w", err)
	}
	timer := f.cfg.Clock.NewTimer(settlePatience)
	defer timer.Stop()
	for {
		progress := f.Sender.unsettled(server, min(info.LastPos, now), now)
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

// unsettled is nil if the events up to read are dispatched and the server has what it was owed at a position, or will not get
// it soon; else it is closed when the sender got somewhere.
func (s *Sender) unsettled(server id.ServerName, read, upTo int64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dests[server]
	switch {
	case s.spawn == nil, d != nil && d.failures > 0:
		return nil
	case s.read[streamEvents] < read, d != nil && d.owes(upTo):
		if s.progress == nil {
			s.progress = make(chan struct{})
		}
		return s.progress
	}
	return nil
}

// owes reports whether events up to a position are on their way to the server. Needs mu.
func (d *destination) owes(upTo int64) bool {
	if d.stored {
		return true // the rows are not looked into
	}
	for _, list := range [][]item{d.inFlight, d.items, d.parked} {
		for _, it := range list {
			if it.event != nil && it.pos <= upTo {
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
