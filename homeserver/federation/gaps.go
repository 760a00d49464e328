package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/client/ssclient"
	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Bounds of what one event makes us fetch (A12, A21).
const (
	gapTime       = 40 * time.Second
	gapEvents     = 20     // asked for by get_missing_events; the specification's servers give no more
	gapSnapshots  = 5      // places at which the state is asked for
	gapState      = 20_000 // events of one state, and of its auth chain
	gapSingles    = 200    // events fetched one by one
	singlesAtOnce = 6
)

// errGap says that an event builds on others that its sender does not give us.
var errGap = errors.New("missing events were not provided")

// fillGap fetches what an event needs and receives it again.
//
// An event that was pushed to us must connect to what we have by get_missing_events: if the state before it were taken from
// its own sender, that server could move the whole room where it likes. The events between may start behind a gap; for them
// the state is asked for.
func (f *Federation) fillGap(ctx context.Context, origin id.ServerName, pdu *event.PDU, receipt room.Receipt) error {
	ctx, cancel := context.WithTimeout(ctx, gapTime)
	defer cancel()
	var err error
	if len(receipt.MissingPrev) > 0 {
		if err := f.fetchPrev(ctx, origin, pdu); err != nil {
			return err
		}
		if receipt, err = f.cfg.Rooms.Receive(ctx, origin, pdu); err != nil || receipt.Outcome != room.Deferred {
			return err
		}
		if len(receipt.MissingPrev) > 0 {
			return errGap
		}
	}
	if err := f.fetchAuth(ctx, origin, pdu, receipt.MissingAuth); err != nil {
		return err
	}
	if receipt, err = f.cfg.Rooms.Receive(ctx, origin, pdu); err == nil && receipt.Outcome == room.Deferred {
		err = errGap
	}
	return err
}

// fetchPrev asks for the events between our extremities and the event, and receives them oldest first.
func (f *Federation) fetchPrev(ctx context.Context, origin id.ServerName, pdu *event.PDU) error {
	info, err := f.cfg.Rooms.Room(ctx, pdu.RoomID)
	if err != nil {
		return err
	}
	raws, err := f.cfg.Client.GetMissingEvents(ctx, origin, pdu.RoomID,
		ssclient.MissingEvents{Limit: gapEvents, Earliest: info.Extremities, Latest: []id.EventID{pdu.ID}})
	if err != nil {
		return fmt.Errorf("%w: get missing events: %w", errGap, err)
	}
	between := f.verifyAll(ctx, f.parseAll(raws, pdu.RoomID, pdu.Version), fetchTimeout)
	between = oldestFirst(slices.DeleteFunc(between, func(ev *event.PDU) bool { return ev.ID == pdu.ID }))
	snapshots := gapSnapshots
	for _, ev := range between {
		receipt, err := f.cfg.Rooms.Receive(ctx, origin, ev)
		if err == nil && receipt.Outcome == room.Deferred {
			err = f.connect(ctx, origin, ev, receipt, &snapshots)
		}
		if err != nil && ctx.Err() != nil {
			return err // else: the others may still connect
		}
	}
	return nil
}

// connect receives an event of the past whose own prev events are missing: each of those is fetched together with the
// state before it.
func (f *Federation) connect(ctx context.Context, origin id.ServerName, ev *event.PDU, receipt room.Receipt, snapshots *int) error {
	for _, missing := range receipt.MissingPrev {
		if *snapshots--; *snapshots < 0 {
			return errGap
		}
		if err := f.receiveAcrossGap(ctx, origin, ev.RoomID, ev.Version, missing); err != nil {
			return err
		}
	}
	if len(receipt.MissingAuth) > 0 {
		if err := f.fetchAuth(ctx, origin, ev, receipt.MissingAuth); err != nil {
			return err
		}
	}
	receipt, err := f.cfg.Rooms.Receive(ctx, origin, ev)
	if err == nil && receipt.Outcome == room.Deferred {
		err = errGap
	}
	return err
}

// receiveAcrossGap receives an event with the state before it as the origin gives it.
func (f *Federation) receiveAcrossGap(ctx context.Context, origin id.ServerName, roomID id.RoomID, v *roomver.Version, at id.EventID) error {
	state, err := f.fetchState(ctx, origin, roomID, v, at)
	if err != nil {
		return err
	}
	raw, err := f.cfg.Client.Event(ctx, origin, at)
	if err != nil {
		return fmt.Errorf("%w: get event: %w", errGap, err)
	}
	found := f.verifyAll(ctx, f.parseAll([]json.RawMessage{raw}, roomID, v), fetchTimeout)
	if len(found) != 1 || found[0].ID != at {
		return errGap
	}
	receipt, err := f.cfg.Rooms.ReceiveWithState(ctx, origin, found[0], state)
	if err == nil && receipt.Outcome == room.Deferred {
		if err = f.fetchAuth(ctx, origin, found[0], receipt.MissingAuth); err != nil {
			return err
		}
		receipt, err = f.cfg.Rooms.ReceiveWithState(ctx, origin, found[0], state)
		if err == nil && receipt.Outcome == room.Deferred {
			err = errGap
		}
	}
	return err
}

// fetchState makes the state before an event known to the engine and lists it. Events that can not be had or verified are
// left out, as at a join: rooms have members whose servers are gone for ever.
func (f *Federation) fetchState(ctx context.Context, origin id.ServerName, roomID id.RoomID, v *roomver.Version, at id.EventID) ([]id.EventID, error) {
	state, chain, err := f.cfg.Client.StateIDs(ctx, origin, roomID, at)
	if err != nil {
		return nil, fmt.Errorf("%w: get state ids: %w", errGap, err)
	}
	if len(state) == 0 || len(state) > gapState || len(chain) > gapState {
		return nil, errGap
	}
	all := append(slices.Clone(chain), state...)
	missing, err := f.unknown(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		var fetched []*event.PDU
		if len(missing) > gapSingles || len(missing) > 20 && len(missing)*10 > len(all) {
			fetched, err = f.fetchWholeState(ctx, origin, roomID, v, at)
		} else {
			fetched, err = f.fetchEvents(ctx, origin, roomID, v, missing)
		}
		if err != nil {
			return nil, err
		}
		if _, err := f.cfg.Rooms.Outliers(ctx, roomID, fetched); err != nil {
			return nil, fmt.Errorf("store state: %w", err)
		}
		missing, err = f.unknown(ctx, state)
		if err != nil {
			return nil, err
		}
	} else {
		missing = nil
	}
	gone := map[id.EventID]bool{}
	for _, ev := range missing {
		gone[ev] = true
	}
	return slices.DeleteFunc(state, func(ev id.EventID) bool { return gone[ev] }), nil
}

func (f *Federation) fetchWholeState(ctx context.Context, origin id.ServerName, roomID id.RoomID, v *roomver.Version, at id.EventID) ([]*event.PDU, error) {
	state, chain, err := f.cfg.Client.State(ctx, origin, roomID, at, gapState)
	if err != nil {
		return nil, fmt.Errorf("%w: get state: %w", errGap, err)
	}
	return f.verifyAll(ctx, f.parseAll(append(chain, state...), roomID, v), fetchTimeout), nil
}

// fetchAuth makes the auth events of an event known to the engine, if its origin has them.
func (f *Federation) fetchAuth(ctx context.Context, origin id.ServerName, ev *event.PDU, missing []id.EventID) error {
	if len(missing) == 0 {
		return nil
	}
	raws, err := f.cfg.Client.EventAuth(ctx, origin, ev.RoomID, ev.ID, gapState)
	if err == nil {
		chain := f.verifyAll(ctx, f.parseAll(raws, ev.RoomID, ev.Version), fetchTimeout)
		chain = slices.DeleteFunc(chain, func(auth *event.PDU) bool { return auth.ID == ev.ID })
		if _, err := f.cfg.Rooms.Outliers(ctx, ev.RoomID, chain); err != nil {
			return fmt.Errorf("store auth chain: %w", err)
		}
		if missing, err = f.unknown(ctx, missing); err != nil {
			return err
		}
	}
	// What the chain did not hold is asked for by name, and what that builds on, a few steps deep.
	for range 5 {
		if len(missing) == 0 {
			return nil
		}
		if len(missing) > gapSingles {
			return errGap
		}
		fetched, err := f.fetchEvents(ctx, origin, ev.RoomID, ev.Version, missing)
		if err != nil {
			return err
		}
		if len(fetched) == 0 {
			return errGap
		}
		if missing, err = f.cfg.Rooms.Outliers(ctx, ev.RoomID, fetched); err != nil {
			return fmt.Errorf("store auth events: %w", err)
		}
	}
	return errGap
}

// fetchEvents gets events one by one, some at a time; those that can not be had are left out.
func (f *Federation) fetchEvents(ctx context.Context, origin id.ServerName, roomID id.RoomID, v *roomver.Version, ids []id.EventID) ([]*event.PDU, error) {
	var (
		mu   sync.Mutex
		raws []json.RawMessage // guarded by mu
	)
	var g errgroup.Group
	g.SetLimit(singlesAtOnce)
	for _, ev := range ids[:min(len(ids), gapSingles)] {
		g.Go(func() error {
			raw, err := f.cfg.Client.Event(ctx, origin, ev)
			if err != nil {
				return nil // one that is missing must not cost the others
			}
			mu.Lock()
			defer mu.Unlock()
			raws = append(raws, raw)
			return nil
		})
	}
	_ = g.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return f.verifyAll(ctx, f.parseAll(raws, roomID, v), fetchTimeout), nil
}

// unknown lists those of the events that the engine has not.
func (f *Federation) unknown(ctx context.Context, ids []id.EventID) ([]id.EventID, error) {
	have, err := f.cfg.Rooms.Events(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	known := make(map[id.EventID]bool, len(have))
	for _, ev := range have {
		known[ev.ID] = true
	}
	var missing []id.EventID
	for _, ev := range ids {
		if !known[ev] {
			known[ev] = true // named once
			missing = append(missing, ev)
		}
	}
	return missing, nil
}

// parseAll parses events of one room and drops what is malformed, or of another room, or there twice.
func (f *Federation) parseAll(raws []json.RawMessage, roomID id.RoomID, v *roomver.Version) []*event.PDU {
	seen := make(map[id.EventID]bool, len(raws))
	evs := make([]*event.PDU, 0, len(raws))
	for _, raw := range raws {
		ev, err := event.Parse(raw, v)
		if err != nil || ev.RoomID != roomID || seen[ev.ID] {
			continue
		}
		seen[ev.ID] = true
		evs = append(evs, ev)
	}
	return evs
}

// oldestFirst sorts events so that each comes after those of the others it builds on. Depth is a claim of the sender, so
// it only orders what the graph leaves open.
func oldestFirst(evs []*event.PDU) []*event.PDU {
	slices.SortStableFunc(evs, func(a, b *event.PDU) int {
		switch {
		case a.Depth < b.Depth:
			return -1
		case a.Depth > b.Depth:
			return 1
		}
		return 0
	})
	byID := make(map[id.EventID]*event.PDU, len(evs))
	for _, ev := range evs {
		byID[ev.ID] = ev
	}
	sorted := make([]*event.PDU, 0, len(evs))
	done := make(map[id.EventID]bool, len(evs))
	var visit func(ev *event.PDU)
	visit = func(ev *event.PDU) {
		if done[ev.ID] {
			return
		}
		done[ev.ID] = true // also ends a cycle, which hashes make impossible from room version 3 on
		for _, prev := range ev.PrevEvents {
			if p := byID[prev]; p != nil {
				visit(p)
			}
		}
		sorted = append(sorted, ev)
	}
	for _, ev := range evs {
		visit(ev)
	}
	return sorted
}
