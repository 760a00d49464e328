package federation

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"konsil/client/ssclient"
	"konsil/homeserver/room"
	"konsil/kit/obs"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

const (
	backfillEvents  = 100 // per request
	backfillServers = 3   // tried for one page
)

// Backfill fetches history before what we have of a room, from the given missing events backwards, and stores it. It answers
// how many events are new; 0 means that no server gives more (a client then sees the history end here).
func (f *Federation) Backfill(ctx context.Context, roomID id.RoomID, from []id.EventID, limit int) (int, error) {
	if len(from) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gapTime)
	defer cancel()
	info, err := f.cfg.Rooms.Room(ctx, roomID)
	if err != nil {
		return 0, err
	}
	version, ok := roomver.Get(info.Version)
	if !ok || !info.Here {
		return 0, nil
	}
	servers, err := f.historyServers(ctx, roomID)
	if err != nil {
		return 0, err
	}
	for _, server := range servers {
		n, err := f.backfillFrom(ctx, server, roomID, version, from[:min(len(from), 20)], min(max(limit, 20), backfillEvents))
		if n > 0 {
			return n, nil
		}
		if err != nil {
			f.cfg.Log.Info("backfill", obs.KeyError, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return 0, nil
}

// historyServers picks servers that may know more of a room's past, the one it was made on first.
func (f *Federation) historyServers(ctx context.Context, roomID id.RoomID) ([]id.ServerName, error) {
	joined, err := f.cfg.Rooms.JoinedServers(ctx, roomID)
	if err != nil {
		return nil, fmt.Errorf("servers of a room: %w", err)
	}
	var first []id.ServerName
	if slices.Contains(joined, roomID.Server()) {
		first = append(first, roomID.Server())
	} else if create, err := f.cfg.Rooms.StateEvent(ctx, roomID, event.TypeCreate, ""); err == nil && create != nil && slices.Contains(joined, create.Sender.Server()) {
		first = append(first, create.Sender.Server())
	}
	all := f.candidates(first, joined)
	return all[:min(len(all), backfillServers)], nil
}

func (f *Federation) backfillFrom(ctx context.Context, server id.ServerName, roomID id.RoomID, v *roomver.Version, from []id.EventID, limit int) (int, error) {
	raws, err := f.cfg.Client.Backfill(ctx, server, roomID, from, limit)
	if err != nil {
		return 0, err
	}
	evs := oldestFirst(f.verifyAll(ctx, f.parseAll(raws, roomID, v), fetchTimeout))
	if len(evs) == 0 {
		return 0, nil
	}
	return f.storeHistory(ctx, server, roomID, v, evs)
}

// storeHistory stores events of the past, oldest first. Those whose prev events are not known need the state before them
// from the server; what cannot be placed is dropped, with what comes after it.
func (f *Federation) storeHistory(ctx context.Context, server id.ServerName, roomID id.RoomID, v *roomver.Version, evs []*event.PDU) (int, error) {
	known := map[id.EventID]bool{}
	for _, ev := range evs {
		known[ev.ID] = true
	}
	var prev, auth []id.EventID
	for _, ev := range evs {
		prev = append(prev, ev.PrevEvents...)
		auth = append(auth, ev.AuthEvents...)
	}
	// An event that is known only as part of the state has no state of its own to build on.
	placed, err := f.cfg.Rooms.Events(ctx, prev)
	if err != nil {
		return 0, fmt.Errorf("look up events: %w", err)
	}
	unplaced := map[id.EventID]bool{}
	for _, ev := range prev {
		unplaced[ev] = !known[ev]
	}
	for _, ev := range placed {
		if ev.StateAfter != 0 {
			delete(unplaced, ev.ID)
		}
	}
	states := map[id.EventID][]id.EventID{}
	for _, ev := range evs {
		if !slices.ContainsFunc(ev.PrevEvents, func(p id.EventID) bool { return unplaced[p] }) {
			continue
		}
		if len(states) == gapSnapshots {
			break
		}
		state, err := f.fetchState(ctx, server, roomID, v, ev.ID)
		if err != nil {
			return 0, err
		}
		states[ev.ID] = state
	}
	missing, err := f.unknown(ctx, auth)
	if err != nil {
		return 0, err
	}
	missing = slices.DeleteFunc(missing, func(ev id.EventID) bool { return known[ev] })
	for range 5 {
		if len(missing) == 0 {
			break
		}
		fetched, err := f.fetchEvents(ctx, server, roomID, v, missing)
		if err != nil {
			return 0, err
		}
		if missing, err = f.cfg.Rooms.Outliers(ctx, roomID, fetched); err != nil {
			return 0, fmt.Errorf("store auth events: %w", err)
		}
		if len(fetched) == 0 {
			break
		}
	}
	n, err := f.cfg.Rooms.Backfilled(ctx, roomID, evs, states)
	if err != nil {
		return n, fmt.Errorf("store history: %w", err)
	}
	return n, nil
}

// TimestampToEvent asks other servers of a room for the event nearest to a time, fetches it, and gives its ID and time. It is
// called when our own history has a gap near the time. SS v1.16 #get_matrixfederationv1timestamp_to_eventroomid
func (f *Federation) TimestampToEvent(ctx context.Context, roomID id.RoomID, ts int64, forward bool) (*room.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, gapTime)
	defer cancel()
	info, err := f.cfg.Rooms.Room(ctx, roomID)
	if err != nil {
		return nil, err
	}
	version, ok := roomver.Get(info.Version)
	if !ok {
		return nil, room.ErrUnknownEvent
	}
	servers, err := f.historyServers(ctx, roomID)
	if err != nil {
		return nil, err
	}
	dir := "b"
	if forward {
		dir = "f"
	}
	for _, server := range servers {
		found, at, err := f.cfg.Client.TimestampToEvent(ctx, server, roomID, ts, dir)
		if err != nil || forward && at < ts || !forward && at > ts {
			continue
		}
		ev, err := f.fetchPast(ctx, server, roomID, version, found)
		if err == nil {
			return ev, nil
		}
		f.cfg.Log.Info("fetch an event of the past", obs.KeyError, err)
	}
	return nil, room.ErrUnknownEvent
}

// fetchPast makes one event of the past part of our history, with the state before it.
func (f *Federation) fetchPast(ctx context.Context, server id.ServerName, roomID id.RoomID, v *roomver.Version, wanted id.EventID) (*room.Event, error) {
	if ev, err := f.cfg.Rooms.Event(ctx, wanted); err == nil && ev.InTimeline() {
		if ev.RoomID != roomID {
			return nil, room.ErrUnknownEvent
		}
		return ev, nil
	}
	raw, err := f.cfg.Client.Event(ctx, server, wanted)
	if err != nil {
		return nil, err
	}
	evs := f.verifyAll(ctx, f.parseAll([]json.RawMessage{raw}, roomID, v), fetchTimeout)
	if len(evs) != 1 || evs[0].ID != wanted {
		return nil, room.ErrUnknownEvent
	}
	if _, err := f.storeHistory(ctx, server, roomID, v, evs); err != nil {
		return nil, err
	}
	return f.cfg.Rooms.Event(ctx, wanted)
}

// ResolveAlias finds the room behind an alias of another server. SS v1.16 #get_matrixfederationv1querydirectory
func (f *Federation) ResolveAlias(ctx context.Context, alias id.RoomAlias) (id.RoomID, []id.ServerName, error) {
	roomID, servers, err := f.cfg.Client.Directory(ctx, alias)
	if err != nil {
		if e, ok := ssclient.Answered(err); ok && e.Status == http.StatusNotFound {
			return "", nil, mxerr.NotFound("Room alias not found")
		}
		return "", nil, ssclient.Gateway(err)
	}
	if !slices.Contains(servers, alias.Server()) {
		servers = append(servers, alias.Server())
	}
	return roomID, servers, nil
}

// PublicRooms asks for another server's room directory; request is the body of the endpoint.
func (f *Federation) PublicRooms(ctx context.Context, server id.ServerName, request json.RawMessage) (json.RawMessage, error) {
	rooms, err := f.cfg.Client.PublicRooms(ctx, server, request)
	return rooms, ssclient.Relay(err, mxerr.CodeForbidden)
}

// Hierarchy asks servers, one after the other, for their view of a space.
func (f *Federation) Hierarchy(ctx context.Context, roomID id.RoomID, via []id.ServerName, suggestedOnly bool) (ssclient.Hierarchy, error) {
	var tried attempts
	for _, server := range f.candidates(via, []id.ServerName{roomID.Server()}) {
		answer, err := f.cfg.Client.Hierarchy(ctx, server, roomID, suggestedOnly)
		if err == nil {
			return answer, nil
		}
		tried.add(err)
		if ctx.Err() != nil {
			break
		}
	}
	return ssclient.Hierarchy{}, tried.told()
}
