package clientsync

import (
	"context"
	"fmt"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// summary is what a client needs to name a room whose members it does not know. CS v1.16 #get_matrixclientv3sync_response-200_roomsummary
type summary struct {
	joined, invited int64
	heroes          []id.UserID // nil: the room has a name
}

const maxHeroes = 5

// readSummaries makes the summaries of rooms that are told in whole or whose members or name changed.
func (a *answer) readSummaries(ctx context.Context) error {
	var rooms []*roomAnswer
	var nids []int64
	for _, r := range a.joined {
		if r.whole || namesChanged(r) {
			rooms, nids = append(rooms, r), append(nids, r.nid)
		}
	}
	if len(rooms) == 0 {
		return nil
	}
	var tallies map[int64]store.MemberTally
	var names []store.EventRow
	heroes := make([][]store.MemberRow, len(rooms))
	err := a.syncer.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if tallies, err = tx.MemberTallies(ctx, nids); err != nil {
			return err
		}
		if names, err = tx.CurrentStateOfTypes(ctx, nids, []string{event.TypeName, event.TypeCanonicalAlias}); err != nil {
			return err
		}
		named := namedRooms(names)
		for i, r := range rooms {
			if named[r.nid] {
				continue
			}
			if heroes[i], err = heroesOf(ctx, tx, r.nid, a.q.User); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read summaries: %w", err)
	}
	for i, r := range rooms {
		t := tallies[r.nid]
		r.summary = &summary{joined: t.Joined, invited: t.Invited}
		for _, hero := range heroes[i] {
			r.summary.heroes = append(r.summary.heroes, hero.User)
		}
		if err := a.addHeroes(ctx, r, heroes[i]); err != nil {
			return err
		}
	}
	return nil
}

// namesChanged says whether anything in the timeline or state may change the summary.
func namesChanged(r *roomAnswer) bool {
	if r.limited {
		return true
	}
	for _, list := range [][]*room.Event{r.all, r.state} {
		for _, ev := range list {
			if ev.IsState() && (ev.Type == event.TypeMember || ev.Type == event.TypeName || ev.Type == event.TypeCanonicalAlias) {
				return true
			}
		}
	}
	return false
}

// namedRooms says which rooms have a name or an alias to be called by.
func namedRooms(rows []store.EventRow) map[int64]bool {
	named := map[int64]bool{}
	for _, row := range rows {
		for _, field := range []string{"name", "alias"} {
			if text, ok := canonical.GetString(row.JSON, "content", field); ok && text != "" {
				named[row.RoomNID] = true
			}
		}
	}
	return named
}

// heroesOf finds the members after whom a room is called; if there are none left, those who were.
func heroesOf(ctx context.Context, tx *store.Tx, room int64, but id.UserID) ([]store.MemberRow, error) {
	heroes, err := tx.Heroes(ctx, room, but, maxHeroes)
	if err != nil || len(heroes) > 0 {
		return heroes, err
	}
	return tx.FormerHeroes(ctx, room, but, maxHeroes)
}

// addHeroes adds the member events of the heroes for clients that do not get all members: "When lazy-loading room members is
// enabled, the membership events for the heroes MUST be included in the state, unless they are redundant".
func (a *answer) addHeroes(ctx context.Context, r *roomAnswer, heroes []store.MemberRow) error {
	if !a.lazyMembers() || len(heroes) == 0 {
		return nil
	}
	there := map[int64]bool{}
	for _, ev := range r.state {
		there[ev.NID] = true
	}
	if a.q.StateAfter == StateBefore {
		for _, ev := range r.events {
			there[ev.NID] = true
		}
	}
	known := a.syncer.lazy.known(a.q, r.room)
	var nids []int64
	for _, hero := range heroes {
		if !there[hero.Event] && (r.whole || !known[hero.User]) {
			nids = append(nids, hero.Event)
		}
	}
	if len(nids) == 0 {
		return nil
	}
	events, err := a.syncer.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read heroes: %w", err)
	}
	for _, ev := range events {
		if a.q.filter.state.picks(ev) {
			r.state = append(r.state, ev)
		}
	}
	a.remember(r)
	return nil
}
