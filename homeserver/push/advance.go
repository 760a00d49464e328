package push

import (
	"context"
	"fmt"

	"konsil/homeserver/room"
	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/pushrule"
)

// batch is how many positions are read at once.
const batch = 500

// Advance counts everything up to a position. CS v1.16 #server-behaviour-14: "The updated notification count from a new
// event MUST appear in the same /sync response as the event itself".
func (k *Keeper) Advance(ctx context.Context, upTo int64) error {
	if k.pos.Load() >= upTo {
		return nil
	}
	if err := k.take(ctx); err != nil {
		return err
	}
	defer k.give()
	return k.advance(ctx, upTo)
}

// advance needs the turn.
func (k *Keeper) advance(ctx context.Context, upTo int64) error {
	if !k.started {
		err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
			pos, err := tx.UnreadCursor(ctx)
			k.pos.Store(pos)
			return err
		})
		if err != nil {
			return fmt.Errorf("read cursor of unread counts: %w", err)
		}
		k.started = true
	}
	for k.pos.Load() < upTo {
		if err := k.step(ctx, k.pos.Load(), upTo); err != nil {
			return err
		}
		k.shrink()
	}
	return nil
}

// maxMembers bounds the members, over all rooms, whose counts stay in memory; each takes some 150 bytes.
const maxMembers = 200_000

// shrink forgets the counts of written rooms once there are too many. They are read again when they change. It needs the
// turn.
func (k *Keeper) shrink() {
	if k.held <= maxMembers {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.writing {
		return // not now
	}
	k.held = 0
	kept := make(map[id.RoomID]*roomCounts, len(k.dirty))
	for room, r := range k.dirty {
		kept[room] = r
		k.held += len(r.members)
	}
	k.rooms = kept
}

// step counts one batch.
func (k *Keeper) step(ctx context.Context, after, upTo int64) error {
	upTo = min(upTo, after+batch)
	nids, receipts, rules, ignored, err := k.readBatch(ctx, after, upTo)
	if err != nil {
		return fmt.Errorf("read what to count: %w", err)
	}
	events, err := k.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read events to count: %w", err)
	}
	k.learnIgnored(ignored)
	touched := make(map[id.RoomID]bool, 4)
	for _, ev := range events {
		touched[ev.RoomID] = true
	}
	for _, r := range receipts {
		touched[r.Room] = true
	}
	if err := k.load(ctx, touched); err != nil {
		return err
	}
	if err := k.inOrder(ctx, events, receipts, rules); err != nil {
		return err
	}
	k.pos.Store(upTo)
	return nil
}

func (k *Keeper) readBatch(ctx context.Context, after, upTo int64) (nids []int64, receipts []store.Receipt, rules, ignored []store.UserPushRules, err error) {
	err = k.cfg.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if nids, err = tx.EventsBetween(ctx, after, upTo); err != nil {
			return err
		}
		if int64(len(nids)) == upTo-after {
			return nil // each position is an event's: nothing else happened
		}
		if receipts, err = tx.LocalReceipts(ctx, after, upTo); err != nil {
			return err
		}
		if rules, err = tx.PushRulesChanged(ctx, after, upTo); err != nil {
			return err
		}
		ignored, err = tx.IgnoredChanged(ctx, after, upTo)
		return err
	})
	return nids, receipts, rules, ignored, err
}

// inOrder counts events, applies receipts and takes over changed rules, each at its place.
func (k *Keeper) inOrder(ctx context.Context, events []*room.Event, receipts []store.Receipt, rules []store.UserPushRules) error {
	for _, ev := range events {
		for len(rules) > 0 && rules[0].Pos < ev.Pos {
			if err := k.learn(rules[:1]); err != nil {
				return err
			}
			rules = rules[1:]
		}
		for len(receipts) > 0 && receipts[0].Pos < ev.Pos {
			if err := k.receive(ctx, receipts[0]); err != nil {
				return fmt.Errorf("apply receipt: %w", err)
			}
			receipts = receipts[1:]
		}
		if err := k.count(ctx, ev); err != nil {
			return fmt.Errorf("count event: %w", err)
		}
		if err := k.followUpgrade(ctx, ev); err != nil {
			return fmt.Errorf("take push rules along: %w", err)
		}
	}
	for _, r := range receipts {
		if err := k.receive(ctx, r); err != nil {
			return fmt.Errorf("apply receipt: %w", err)
		}
	}
	return k.learn(rules)
}

// learn takes over changed rules of users who are in memory.
func (k *Keeper) learn(changed []store.UserPushRules) error {
	for _, c := range changed {
		set, err := pushrule.Parse(c.Rules)
		if err != nil {
			return err
		}
		compiled := set.Compile(string(c.User))
		k.mu.Lock()
		if r := k.rules[c.User]; r != nil {
			r.set, r.compiled = set, compiled
		}
		k.mu.Unlock()
	}
	return nil
}

// learnIgnored takes over whom users who are in memory ignore.
func (k *Keeper) learnIgnored(changed []store.UserPushRules) {
	for _, c := range changed {
		ignored := map[id.UserID]bool{}
		if users, ok := canonical.Get(c.Rules, "ignored_users"); ok {
			_ = canonical.Object(users, func(user string, _ []byte) error { // what is no object ignores nobody
				ignored[id.UserID(user)] = true
				return nil
			})
		}
		k.mu.Lock()
		if r := k.rules[c.User]; r != nil {
			r.ignored = ignored
		}
		k.mu.Unlock()
	}
}

// load reads the counts and members of rooms that are not in memory, all together. It needs the turn.
func (k *Keeper) load(ctx context.Context, rooms map[id.RoomID]bool) error {
	var missing []id.RoomID
	k.mu.Lock()
	for room := range rooms {
		if k.rooms[room] == nil {
			missing = append(missing, room)
		}
	}
	k.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	var stored map[id.RoomID][]byte
	var members []store.LocalMember
	err := k.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if stored, err = tx.Unread(ctx, missing); err != nil {
			return err
		}
		members, err = tx.LocalMembers(ctx, k.cfg.Server, missing)
		return err
	})
	if err != nil {
		return fmt.Errorf("read unread counts: %w", err)
	}
	if err := k.loadRules(ctx, members); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, room := range missing {
		k.rooms[room] = &roomCounts{members: map[id.UserID]*member{}}
	}
	k.held += len(members)
	for _, m := range members {
		k.rooms[m.Room].members[m.User] = &member{user: m.User, name: m.DisplayName, since: m.Since, rules: k.rulesOf(m.User)}
	}
	for room, counts := range stored {
		if err := k.rooms[room].decode(counts); err != nil {
			return err
		}
	}
	return nil
}

// loadRules reads the rules of users that are not in memory.
func (k *Keeper) loadRules(ctx context.Context, members []store.LocalMember) error {
	unknown := map[id.UserID]bool{}
	k.mu.Lock()
	for _, m := range members {
		if k.rules[m.User] == nil {
			unknown[m.User] = true
		}
	}
	k.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	users := make([]id.UserID, 0, len(unknown))
	for user := range unknown {
		users = append(users, user)
	}
	var rows, ignored []store.UserPushRules
	err := k.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if rows, err = tx.PushRulesOf(ctx, users); err != nil {
			return err
		}
		ignored, err = tx.IgnoredBy(ctx, users)
		return err
	})
	if err != nil {
		return fmt.Errorf("read push rules: %w", err)
	}
	k.mu.Lock()
	for _, user := range users {
		k.rulesOf(user)
	}
	k.mu.Unlock()
	k.learnIgnored(ignored)
	return k.learn(rows)
}

// rulesOf gives the rules of a user, those of a new user if there are none in memory. It needs mu.
func (k *Keeper) rulesOf(user id.UserID) *userRules {
	r := k.rules[user]
	if r == nil {
		set := &pushrule.Set{}
		r = &userRules{set: set, compiled: set.Compile(string(user))}
		k.rules[user] = r
	}
	return r
}

// count asks every local member's rules about one event.
func (k *Keeper) count(ctx context.Context, ev *room.Event) error {
	asked, err := k.facts(ctx, ev)
	if err != nil {
		return err
	}
	root, err := k.threadOf(ctx, ev, 0)
	if err != nil {
		return err
	}
	invited, err := k.invited(ctx, ev)
	if err != nil {
		return err
	}
	pushers, err := k.pusherKeys(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	counts := k.rooms[ev.RoomID]
	if ev.Type == event.TypeMember && ev.StateKey != nil {
		k.followMember(counts, ev)
	}
	k.mu.Unlock()
	// Members change only under the turn, which is ours, so they may be read without the lock; and the rules may ask the
	// store for power levels.
	verdicts := k.verdicts[:0]
	name := ""
	for user, m := range counts.members {
		if user == ev.Sender || ev.Pos <= m.since || m.rules.ignored[ev.Sender] {
			continue
		}
		if asked.AsksForName() {
			name = m.name
		}
		if o := m.rules.compiled.Evaluate(asked, name); o != nil && (o.Notify || o.Highlight) {
			verdicts = append(verdicts, verdict{m, o})
		}
	}
	k.verdicts = verdicts
	var inviteOutcome *pushrule.Outcome
	if invited != nil && !invited.ignored[ev.Sender] {
		inviteOutcome = invited.compiled.Evaluate(asked, "")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range verdicts {
		v.m.thread(root).add(v.outcome)
		if v.outcome.Notify {
			k.ring(pushers[v.m.user], ev, v.outcome)
		}
	}
	if m := counts.members[ev.Sender]; m != nil {
		// Who writes has read: "either by using the API or by sending an event". CS v1.16 #marking-notifications-as-read
		t := m.thread(root)
		t.clear()
		t.read = ev.Pos
	}
	if inviteOutcome != nil && inviteOutcome.Notify {
		k.ring(pushers[id.UserID(*ev.StateKey)], ev, inviteOutcome)
	}
	counts.last = ev.Pos
	k.dirty[ev.RoomID] = counts
	if len(k.waiting) > 0 {
		hint(k.flushSoon)
	}
	return nil
}

// verdict is what one member's rules say of an event.
type verdict struct {
	m       *member
	outcome *pushrule.Outcome
}

// followMember keeps the list of local members right. It needs mu.
func (k *Keeper) followMember(counts *roomCounts, ev *room.Event) {
	user := id.UserID(*ev.StateKey)
	if user.Server() != k.cfg.Server {
		return
	}
	if ev.Membership() != event.Join {
		// The event may have lost against another one, but then a newer event will say so.
		delete(counts.members, user)
		return
	}
	m := counts.members[user]
	if m == nil {
		m = &member{user: user, since: ev.Pos, rules: k.rulesOf(user)}
		counts.members[user] = m
	}
	m.name = displayName(ev.Content)
}

// invited gives the rules of a local user whom the event invites: they are no member, but want to hear of it.
func (k *Keeper) invited(ctx context.Context, ev *room.Event) (*userRules, error) {
	if ev.Type != event.TypeMember || ev.StateKey == nil || ev.Membership() != event.Invite {
		return nil, nil
	}
	user := id.UserID(*ev.StateKey)
	if user.Server() != k.cfg.Server || user == ev.Sender {
		return nil, nil
	}
	if err := k.loadRules(ctx, []store.LocalMember{{User: user}}); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rulesOf(user), nil
}

// facts prepares an event for the rules.
func (k *Keeper) facts(ctx context.Context, ev *room.Event) (*pushrule.Event, error) {
	info, err := k.cfg.Rooms.Room(ctx, ev.RoomID)
	if err != nil {
		return nil, err
	}
	// The levels are read only if a rule asks, and then once.
	var levels *auth.PowerLevels
	return pushrule.NewEvent(pushrule.Facts{
		JSON: ev.JSON, Type: ev.Type, RoomID: string(ev.RoomID), Sender: string(ev.Sender), StateKey: ev.StateKey,
		Members: info.Joined,
		SenderMay: func(kind string) bool {
			if levels == nil {
				levels = k.levels(ctx, ev.RoomID)
			}
			return levels != nil && levels.UserLevel(ev.Sender) >= levels.Notification(kind)
		},
	}), nil
}

// levels reads a room's power levels; nil if that fails, and then nobody may notify the whole room.
func (k *Keeper) levels(ctx context.Context, in id.RoomID) *auth.PowerLevels {
	create, err := k.cfg.Rooms.StateEvent(ctx, in, event.TypeCreate, "")
	if err != nil || create == nil {
		return nil
	}
	parsed := auth.ParseCreate(create.PDU)
	current, err := k.cfg.Rooms.StateEvent(ctx, in, event.TypePowerLevels, "")
	if err != nil {
		return nil
	}
	if current == nil {
		return auth.LevelsOf(parsed, nil)
	}
	return auth.LevelsFrom(current.PDU, parsed)
}
