package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// memberFields are the fields of a member event's content. Field order does not matter: content becomes canonical JSON.
type memberFields map[string]json.RawMessage

func quoted[S ~string](s S) json.RawMessage { return canonical.AppendString(nil, s) }

// fields starts the content of a member event: the caller's own fields, then what they may not choose.
func (c MembershipChange) fields(membership string) (memberFields, error) {
	f := memberFields{}
	if len(c.Content) > 0 {
		if err := json.Unmarshal(c.Content, &f); err != nil || f == nil {
			return nil, mxerr.BadJSON("The content is not an object")
		}
	}
	// These decide whether the event is allowed: never the client's word.
	for _, key := range []string{"third_party_invite", "join_authorised_via_users_server", "is_direct"} {
		delete(f, key)
	}
	f["membership"] = quoted(membership)
	if c.Reason != "" {
		f["reason"] = quoted(c.Reason)
	}
	return f, nil
}

// withProfile adds the profile, unless the client chose another for this room.
func (f memberFields) withProfile(p Profile) {
	if _, ok := f["displayname"]; !ok && p.DisplayName != "" {
		f["displayname"] = quoted(p.DisplayName)
	}
	if _, ok := f["avatar_url"]; !ok && p.AvatarURL != "" {
		f["avatar_url"] = quoted(p.AvatarURL)
	}
}

func (f memberFields) content() ([]byte, error) { return json.Marshal(f) }

// member is the current member event of a user; nil for none.
func (b *batch) member(user id.UserID) (*Event, error) {
	return b.inState(id.Slot{Type: event.TypeMember, StateKey: string(user)})
}

func membershipOf(ev *Event) string {
	if ev == nil {
		return ""
	}
	return ev.Membership()
}

// sendMember sends a member event, or answers the one there is if it says the same.
func (b *batch) sendMember(sender, target id.UserID, f memberFields) (id.EventID, error) {
	content, err := f.content()
	if err != nil {
		return "", err
	}
	key := string(target)
	d := Draft{Type: event.TypeMember, StateKey: &key, Sender: sender}
	if same, err := b.sameState(d, content); same != "" || err != nil {
		return same, err
	}
	ev, err := b.send(proposal{typ: event.TypeMember, key: &key, sender: sender, content: content})
	if err != nil {
		return "", err
	}
	return ev.ID, nil
}

// changeMember runs a membership change in a room that a local user is in.
func (e *Engine) changeMember(ctx context.Context, room id.RoomID, fn func(b *batch) (id.EventID, error)) (id.EventID, error) {
	var sent id.EventID
	err := e.change(ctx, room, func(b *batch) (err error) {
		if b.head.snap.nid == 0 || !b.head.here() {
			return ErrNotHere
		}
		sent, err = fn(b)
		return err
	})
	return sent, err
}

// Join lets a local user join a room we are in: public, by invite, or restricted. For rooms we are not in, or whose restricted
// join no local user can authorise, it fails with ErrNotHere: federation joins through another server.
// CS v1.16 #post_matrixclientv3roomsroomidjoin
func (e *Engine) Join(ctx context.Context, c MembershipChange) (id.EventID, error) {
	p, err := e.profile(ctx, c.Sender)
	if err != nil {
		return "", err
	}
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		now, err := b.member(c.Sender)
		if err != nil {
			return "", err
		}
		f, err := c.fields(event.Join)
		if err != nil {
			return "", err
		}
		f.withProfile(p)
		switch membershipOf(now) {
		case event.Join:
			if len(c.Content) == 0 {
				return now.ID, nil // joining twice is joining once
			}
		case event.Invite:
		default:
			if len(c.ThirdParty) > 0 {
				if err := b.inviteByThirdParty(c); err != nil {
					return "", err
				}
				break
			}
			via, err := b.authorisingUser(c.Sender)
			if err != nil {
				return "", err
			}
			if via != "" {
				f["join_authorised_via_users_server"] = quoted(via)
			}
		}
		return b.sendMember(c.Sender, c.Sender, f)
	})
}

// inviteByThirdParty turns an invite by mail, which the user has proven to be theirs, into an invite of the user.
// CS v1.16 #third-party-invites
func (b *batch) inviteByThirdParty(c MembershipChange) error {
	sender, _ := canonical.GetString(c.ThirdParty, "sender")
	inviter, err := id.ParseUserID(sender)
	if err != nil || !b.e.local(inviter) {
		return mxerr.Forbidden("The third-party invite is not from a user of this server")
	}
	signed := map[string]json.RawMessage{}
	err = canonical.Object(c.ThirdParty, func(key string, value []byte) error {
		if key != "sender" {
			signed[key] = value
		}
		return nil
	})
	if err != nil {
		return mxerr.BadJSON("third_party_signed is not an object")
	}
	invite, err := json.Marshal(map[string]any{"display_name": string(c.Sender), "signed": signed})
	if err != nil {
		return err
	}
	f := memberFields{"membership": quoted(event.Invite), "third_party_invite": invite}
	_, err = b.sendMember(inviter, c.Sender, f)
	return err
}

// authorisingUser picks who vouches for a restricted join, "" where nobody has to. RV 8 rule 4.3.5, CS v1.16 #restricted-rooms
func (b *batch) authorisingUser(user id.UserID) (id.UserID, error) {
	rules := b.head.joinRules()
	if !rules.Rule.Restricted() || !b.head.version.Restricted {
		return "", nil
	}
	if ok, err := b.e.inAnyRoom(b.ctx, user, rules.Allow); err != nil {
		return "", err
	} else if !ok {
		return "", mxerr.Forbidden("You are in none of the rooms whose members may join")
	}
	via := b.head.inviter()
	if via == "" {
		return "", ErrNotHere
	}
	return via, nil
}

// inviter is a joined user of this domain who may invite, "" for none. The same room gives the same user each time.
func (h *head) inviter() id.UserID {
	levels := h.levels()
	if levels == nil {
		return ""
	}
	var via id.UserID
	for _, user := range h.local {
		if levels.UserLevel(user) >= levels.Invite() && (via == "" || user < via) {
			via = user
		}
	}
	return via
}

// inAnyRoom reports whether a user is joined to one of the rooms, as far as we know them.
func (e *Engine) inAnyRoom(ctx context.Context, user id.UserID, list []id.RoomID) (bool, error) {
	for _, room := range list {
		h, err := e.head(ctx, room)
		if err != nil {
			return false, err
		}
		if h == nil || !h.here() {
			continue // what we knew when we left counts no more
		}
		ev, err := e.currentSlot(ctx, h, id.Slot{Type: event.TypeMember, StateKey: string(user)})
		if err != nil {
			return false, err
		}
		if membershipOf(ev) == event.Join {
			return true, nil
		}
	}
	return false, nil
}

// Leave leaves a room, rejects an invite or takes back a knock. Rooms we are not in: ErrNotHere, see RejectLocally.
// CS v1.16 #post_matrixclientv3roomsroomidleave
func (e *Engine) Leave(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		now, err := b.member(c.Sender)
		if err != nil {
			return "", err
		}
		switch membershipOf(now) {
		case "":
			return "", mxerr.Forbidden("You are not in the room")
		case event.Leave:
			return now.ID, nil
		}
		f, err := c.fields(event.Leave)
		if err != nil {
			return "", err
		}
		return b.sendMember(c.Sender, c.Sender, f)
	})
}

// Knock asks to be let into a room we are in. CS v1.16 #post_matrixclientv3knockroomidoralias
func (e *Engine) Knock(ctx context.Context, c MembershipChange) (id.EventID, error) {
	p, err := e.profile(ctx, c.Sender)
	if err != nil {
		return "", err
	}
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		f, err := c.fields(event.Knock)
		if err != nil {
			return "", err
		}
		f.withProfile(p)
		return b.sendMember(c.Sender, c.Sender, f)
	})
}

// Kick puts somebody out of the room, or takes back their invite or knock. CS v1.16 #post_matrixclientv3roomsroomidkick
func (e *Engine) Kick(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		now, err := b.member(c.Target)
		if err != nil {
			return "", err
		}
		switch membershipOf(now) {
		case event.Join, event.Invite, event.Knock:
		default:
			return "", mxerr.Forbidden("The user is not in the room")
		}
		f, err := c.fields(event.Leave)
		if err != nil {
			return "", err
		}
		return b.sendMember(c.Sender, c.Target, f)
	})
}

// Ban keeps somebody out of the room. CS v1.16 #post_matrixclientv3roomsroomidban
func (e *Engine) Ban(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		f, err := c.fields(event.Ban)
		if err != nil {
			return "", err
		}
		return b.sendMember(c.Sender, c.Target, f)
	})
}

// Unban lifts a ban. CS v1.16 #post_matrixclientv3roomsroomidunban
func (e *Engine) Unban(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		now, err := b.member(c.Target)
		if err != nil {
			return "", err
		}
		if membershipOf(now) != event.Ban {
			return "", mxerr.BadState("The user is not banned")
		}
		f, err := c.fields(event.Leave)
		if err != nil {
			return "", err
		}
		return b.sendMember(c.Sender, c.Target, f)
	})
}

// inviteFields is the content of an invite; the profile is the invited user's, where they are of this domain.
func (e *Engine) inviteFields(ctx context.Context, c MembershipChange) (memberFields, error) {
	if err := e.CheckInvite(ctx, c.Target, c.Sender); err != nil {
		return nil, err
	}
	p, err := e.profile(ctx, c.Target)
	if err != nil {
		return nil, err
	}
	f, err := c.fields(event.Invite)
	if err != nil {
		return nil, err
	}
	f.withProfile(p)
	if c.IsDirect {
		f["is_direct"] = json.RawMessage("true")
	}
	return f, nil
}

// Invite invites a local user. For a user of another server use PrepareInvite, let their server sign, then FinishInvite.
// CS v1.16 #post_matrixclientv3roomsroomidinvite
func (e *Engine) Invite(ctx context.Context, c MembershipChange) (id.EventID, error) {
	f, err := e.inviteFields(ctx, c)
	if err != nil {
		return "", err
	}
	return e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		return b.sendMember(c.Sender, c.Target, f)
	})
}

// PrepareInvite builds and authorises an invite without storing it, with the stripped state that goes along.
// SS v1.16 #inviting-to-a-room
func (e *Engine) PrepareInvite(ctx context.Context, c MembershipChange) (ev *event.PDU, stripped []json.RawMessage, err error) {
	f, err := e.inviteFields(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	content, err := f.content()
	if err != nil {
		return nil, nil, err
	}
	key := string(c.Target)
	_, err = e.changeMember(ctx, c.Room, func(b *batch) (id.EventID, error) {
		pdu, _, err := b.build(proposal{typ: event.TypeMember, key: &key, sender: c.Sender, content: content}, nil)
		if err != nil {
			return "", err
		}
		if err := b.permit(pdu); err != nil {
			return "", err
		}
		ev = pdu
		stripped, err = b.stripped()
		return "", err
	})
	return ev, stripped, err
}

// FinishInvite stores the invite that the invited server has signed. The room may have moved on meanwhile: it is admitted like
// an event of another server.
func (e *Engine) FinishInvite(ctx context.Context, signed *event.PDU) (id.EventID, error) {
	r, err := e.Receive(ctx, e.cfg.Server, signed)
	switch {
	case err != nil:
		return "", err
	case r.Outcome == AcceptedNow || r.Outcome == KnownAlready:
		return signed.ID, nil
	case r.Reason != nil:
		return "", refusal(r.Reason)
	}
	return "", mxerr.Forbidden("The invite is not allowed any more")
}

// Forget takes a room that the user has left out of their lists. CS v1.16 #post_matrixclientv3roomsroomidforget
func (e *Engine) Forget(ctx context.Context, room id.RoomID, user id.UserID) error {
	return e.store.Write(ctx, func(tx *store.Tx) error {
		r, err := tx.UserRoom(ctx, user, room)
		if errors.Is(err, store.ErrNotFound) {
			return mxerr.Unknown("You were never in the room")
		}
		if err != nil {
			return err
		}
		if r.Membership != store.Left && r.Membership != store.Banned {
			return mxerr.Unknown("You have to leave the room before you forget it")
		}
		return tx.ForgetRoom(ctx, user, r.Room)
	})
}

// ProfileChanged sends the user's new profile into all rooms they are in. A room that refuses does not stop the others.
// CS v1.16 #events-on-change-of-profile-information
func (e *Engine) ProfileChanged(ctx context.Context, user id.UserID, p Profile) error {
	joined, err := e.JoinedRooms(ctx, user)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16) // enough to share transactions
	for _, room := range joined {
		g.Go(func() error {
			_, err := e.changeMember(ctx, room, func(b *batch) (id.EventID, error) {
				now, err := b.member(user)
				if err != nil || membershipOf(now) != event.Join {
					return "", err
				}
				f := memberFields{"membership": quoted(event.Join)}
				f.withProfile(p)
				return b.sendMember(user, user, f)
			})
			if _, refused := mxerr.As(err); refused || errors.Is(err, ErrNotHere) {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// stripped is the state that strangers see with an invite or knock. CS v1.16 #stripped-state, MSC4311
func (b *batch) stripped() ([]json.RawMessage, error) {
	var out []json.RawMessage
	for _, slot := range strippedSlots {
		ev, err := b.inState(slot)
		if err != nil {
			return nil, err
		}
		if ev != nil {
			out = append(out, ev.Stripped())
		}
	}
	return out, nil
}

var strippedSlots = []id.Slot{
	{Type: event.TypeCreate}, {Type: event.TypeName}, {Type: event.TypeAvatar}, {Type: event.TypeTopic},
	{Type: event.TypeJoinRules}, {Type: event.TypeCanonicalAlias}, {Type: event.TypeEncryption},
}

// StrippedState is the stripped state of a room for invites and knocks.
func (e *Engine) StrippedState(ctx context.Context, room id.RoomID) ([]json.RawMessage, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	b := newBatch(ctx, e, room, h) // for its reads
	return b.stripped()
}

// Membership is the user's current membership, "" for none or where we know nothing of the room.
func (e *Engine) Membership(ctx context.Context, room id.RoomID, user id.UserID) (string, error) {
	h, err := e.head(ctx, room)
	if err != nil || h == nil || h.snap.nid == 0 {
		return "", err
	}
	if slices.Contains(h.local, user) {
		return event.Join, nil
	}
	ev, err := e.currentSlot(ctx, h, id.Slot{Type: event.TypeMember, StateKey: string(user)})
	return membershipOf(ev), err
}

// currentSlot reads a slot of the current state; nil for an empty one.
func (e *Engine) currentSlot(ctx context.Context, h *head, slot id.Slot) (*Event, error) {
	if field := h.special(slot); field != nil {
		return *field, nil
	}
	nid, found, err := e.store.Slots().Find(ctx, slot)
	if err != nil || !found {
		return nil, err
	}
	ev := h.state.get(nid)
	if ev == 0 {
		return nil, nil
	}
	return e.eventByNID(ctx, ev)
}
