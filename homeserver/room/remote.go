package room

import (
	"context"
	"encoding/json"
	"slices"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// MakeJoin builds the template of a join for a user of another server. SS v1.16 #get_matrixfederationv1make_joinroomiduserid
func (e *Engine) MakeJoin(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	return e.template(ctx, origin, room, user, versions, func(b *batch) (memberFields, error) {
		f := memberFields{"membership": quoted(event.Join)}
		now, err := b.member(user)
		if err != nil {
			return nil, err
		}
		if m := membershipOf(now); m == event.Join || m == event.Invite {
			return f, nil
		}
		via, err := b.grantJoin(user)
		if via != "" {
			f["join_authorised_via_users_server"] = quoted(via)
		}
		return f, err
	})
}

// grantJoin picks who vouches for the restricted join of another server's user, "" where nobody has to.
// SS v1.16 #restricted-rooms
func (b *batch) grantJoin(user id.UserID) (id.UserID, error) {
	rules := b.head.joinRules()
	if !rules.Rule.Restricted() || !b.head.version.Restricted {
		return "", nil
	}
	if now, err := b.member(user); err != nil || membershipOf(now) == event.Ban {
		return "", err // the rules refuse it
	}
	ok, err := b.e.inAnyRoom(b.ctx, user, rules.Allow)
	if err != nil {
		return "", err
	}
	if !ok {
		for _, allowed := range rules.Allow {
			h, err := b.e.head(b.ctx, allowed)
			if err != nil {
				return "", err
			}
			if h == nil || !h.here() {
				return "", mxerr.UnableToAuthorizeJoin() // a room that others know may have them as a member
			}
		}
		return "", mxerr.Forbidden("The user is in none of the rooms whose members may join")
	}
	via := b.head.inviter()
	if via == "" {
		return "", mxerr.UnableToGrantJoin()
	}
	return via, nil
}

// MakeLeave builds the template of a leave. SS v1.16 #get_matrixfederationv1make_leaveroomiduserid
func (e *Engine) MakeLeave(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID) (Template, error) {
	return e.template(ctx, origin, room, user, nil, func(b *batch) (memberFields, error) {
		return memberFields{"membership": quoted(event.Leave)}, nil
	})
}

// MakeKnock builds the template of a knock. SS v1.16 #get_matrixfederationv1make_knockroomiduserid
func (e *Engine) MakeKnock(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	return e.template(ctx, origin, room, user, versions, func(b *batch) (memberFields, error) {
		return memberFields{"membership": quoted(event.Knock)}, nil
	})
}

// template builds a member event for another server to sign. versions nil means any.
func (e *Engine) template(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID, versions []string,
	fields func(b *batch) (memberFields, error)) (Template, error) {
	if user.Server() != origin {
		return Template{}, mxerr.Forbidden("The user is not of your server")
	}
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return Template{}, err
	}
	if !h.here() || !h.allows(origin) {
		return Template{}, ErrUnknownRoom
	}
	if versions != nil && !slices.Contains(versions, h.version.ID) {
		return Template{}, mxerr.IncompatibleRoomVersion(h.version.ID)
	}
	b := newBatch(ctx, e, room, h) // built on the head as it is; nothing is stored
	f, err := fields(b)
	if err != nil {
		return Template{}, err
	}
	content, err := f.content()
	if err != nil {
		return Template{}, err
	}
	key := string(user)
	pdu, _, err := b.build(proposal{typ: event.TypeMember, key: &key, sender: user, content: content}, nil)
	if err != nil {
		return Template{}, err
	}
	if err := b.permit(pdu); err != nil {
		return Template{}, err
	}
	return Template{Version: h.version.ID, Event: unsigned(pdu.JSON)}, nil
}

// unsigned takes out of an event what the server that signs it will put in.
func unsigned(pdu []byte) json.RawMessage {
	out := []byte{'{'}
	_ = canonical.Object(pdu, func(key string, value []byte) error {
		if key == "signatures" || key == "hashes" || key == "event_id" {
			return nil
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(canonical.AppendString(out, key), ':')
		out = append(out, value...)
		return nil
	})
	return append(out, '}')
}

// checkMember looks at what another server signed after one of our templates.
func (e *Engine) checkMember(origin id.ServerName, room id.RoomID, pdu *event.PDU, membership string) error {
	switch {
	case pdu.RoomID != room:
		return mxerr.BadJSON("The event is of another room")
	case pdu.Type != event.TypeMember || pdu.StateKey == nil || pdu.Membership() != membership:
		return mxerr.BadJSON("The event is not a member event with membership %s", membership)
	case *pdu.StateKey != string(pdu.Sender):
		return mxerr.BadJSON("The state key is not the sender")
	case pdu.Sender.Server() != origin:
		return mxerr.Forbidden("The sender is not of your server")
	}
	return nil
}

// SendJoin admits a join that another server has signed, and answers what the server needs to take part.
// SS v1.16 #put_matrixfederationv2send_joinroomideventid
func (e *Engine) SendJoin(ctx context.Context, origin id.ServerName, room id.RoomID, pdu *event.PDU) (*RemoteJoin, error) {
	if err := e.checkMember(origin, room, pdu, event.Join); err != nil {
		return nil, err
	}
	h, err := e.servedHead(ctx, origin, room)
	if err != nil {
		return nil, err
	}
	if via := pdu.AuthorisedVia(); via != "" && e.local(via) {
		b := newBatch(ctx, e, room, h)
		if now, err := b.member(pdu.Sender); err != nil {
			return nil, err
		} else if m := membershipOf(now); m != event.Join && m != event.Invite {
			// The template was ours, but time has passed, and the event need not be made of it.
			if _, err := b.grantJoin(pdu.Sender); err != nil {
				return nil, err
			}
		}
		pdu = pdu.Sign(e.cfg.Server, e.cfg.Key) // RV 8 rule 4.2: the vouching user's server signs
	}
	ev, err := e.admitMember(ctx, origin, pdu)
	if err != nil {
		return nil, err
	}
	return e.remoteJoin(ctx, h, ev)
}

// servedHead is the head of a room for a server that is not in it yet.
func (e *Engine) servedHead(ctx context.Context, origin id.ServerName, room id.RoomID) (*head, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	if !h.here() || !h.allows(origin) {
		return nil, ErrUnknownRoom
	}
	return h, nil
}

func (e *Engine) admitMember(ctx context.Context, origin id.ServerName, pdu *event.PDU) (*Event, error) {
	r, err := e.Receive(ctx, origin, pdu)
	if err != nil {
		return nil, err
	}
	switch r.Outcome {
	case AcceptedNow, KnownAlready:
		return r.Event, nil
	case Deferred:
		return nil, mxerr.Forbidden("The event refers to events that we do not know")
	}
	if err := refusal(r.Reason); err != nil {
		if _, ok := mxerr.As(err); ok {
			return nil, err
		}
	}
	return nil, mxerr.Forbidden("The event is not allowed")
}

func (e *Engine) remoteJoin(ctx context.Context, h *head, ev *Event) (*RemoteJoin, error) {
	state, err := e.StateBefore(ctx, ev)
	if err != nil {
		return nil, err
	}
	chain, err := e.authChain(ctx, append(slices.Clone(state), ev))
	if err != nil {
		return nil, err
	}
	servers, err := e.JoinedServers(ctx, h.room)
	if err != nil {
		return nil, err
	}
	return &RemoteJoin{Event: ev, State: state, AuthChain: chain, Servers: servers}, nil
}

// SendLeave admits a leave: of a member, of somebody invited, or of who takes back a knock.
// SS v1.16 #put_matrixfederationv2send_leaveroomideventid
func (e *Engine) SendLeave(ctx context.Context, origin id.ServerName, room id.RoomID, pdu *event.PDU) error {
	if err := e.checkMember(origin, room, pdu, event.Leave); err != nil {
		return err
	}
	if _, err := e.servedHead(ctx, origin, room); err != nil {
		return err
	}
	_, err := e.admitMember(ctx, origin, pdu)
	return err
}

// SendKnock admits a knock and answers stripped state. SS v1.16 #put_matrixfederationv1send_knockroomideventid
func (e *Engine) SendKnock(ctx context.Context, origin id.ServerName, room id.RoomID, pdu *event.PDU) ([]json.RawMessage, error) {
	if err := e.checkMember(origin, room, pdu, event.Knock); err != nil {
		return nil, err
	}
	if _, err := e.servedHead(ctx, origin, room); err != nil {
		return nil, err
	}
	if _, err := e.admitMember(ctx, origin, pdu); err != nil {
		return nil, err
	}
	return e.StrippedState(ctx, room)
}

// authChain is the auth chain of events, the events themselves not among it unless they are part of others' chains.
// From version 12 on the create event belongs to it although no event names it. RV 12 #definitions
func (e *Engine) authChain(ctx context.Context, evs []*Event) ([]*Event, error) {
	seen := map[int64]bool{}
	var chain []*Event
	next := nextAuth(evs, seen)
	for len(next) > 0 {
		level, err := e.EventsByNID(ctx, next)
		if err != nil {
			return nil, err
		}
		chain = append(chain, level...)
		next = nextAuth(level, seen)
	}
	if len(evs) > 0 && evs[0].Version.HashedRoomID {
		create, err := e.Event(ctx, evs[0].RoomID.Create())
		if err != nil && err != ErrUnknownEvent {
			return nil, err
		}
		if err == nil && !seen[create.NID] {
			chain = append(chain, create)
		}
	}
	return chain, nil
}

// nextAuth lists the auth events that were not seen yet.
func nextAuth(evs []*Event, seen map[int64]bool) []int64 {
	var next []int64
	for _, ev := range evs {
		for _, nid := range ev.Auth {
			if !seen[nid] {
				seen[nid] = true
				next = append(next, nid)
			}
		}
	}
	return next
}
