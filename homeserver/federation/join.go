package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/room"
	"konsil/kit/obs"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// JoinRequest is a join or a knock of a local user through another server.
type JoinRequest struct {
	User    id.UserID
	Room    id.RoomID
	Via     []id.ServerName // servers to try, best first; the inviter's is added, the room ID's if there is none
	Content json.RawMessage // further fields of the member event (reason, custom keys); may be nil
}

const (
	// joinTime bounds a join, however large the room.
	joinTime = 15 * time.Minute
	// keyPatience is how long a join waits for the keys of servers that may be gone: their events are left out.
	keyPatience = 20 * time.Second
)

// Join lets a local user join a room through another server. It goes on when the caller gives up, so that a client that asks
// again finds the room; a second call for the same user and room waits for the first.
func (f *Federation) Join(ctx context.Context, req JoinRequest) error {
	done := f.joins.DoChan("join "+string(req.User)+" "+string(req.Room), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), joinTime)
		defer cancel()
		return nil, f.join(ctx, req)
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Federation) join(ctx context.Context, req JoinRequest) error {
	inviter, err := f.inviter(ctx, req.Room, req.User)
	if err != nil {
		return err
	}
	servers, err := f.residents(ctx, req, inviter)
	if err != nil {
		return err
	}
	return throughOne(ctx, servers, func(server id.ServerName) error { return f.joinThrough(ctx, server, req) })
}

// throughOne asks one server after another until one does it, or refuses for all of them.
func throughOne(ctx context.Context, servers []id.ServerName, ask func(id.ServerName) error) error {
	var tried attempts
	for _, server := range servers {
		err := ask(server)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		tried.add(err)
		if final(err) {
			break
		}
	}
	return tried.told()
}

// residents are the servers to ask. Who names servers may have a reason not to ask others; only where nobody else is named,
// the room ID's server and those that we know in the room are asked.
func (f *Federation) residents(ctx context.Context, req JoinRequest, more []id.ServerName) ([]id.ServerName, error) {
	if named := f.candidates(req.Via, more); len(named) > 0 {
		return named, nil
	}
	known, err := f.cfg.Rooms.JoinedServers(ctx, req.Room)
	if err != nil && !errors.Is(err, room.ErrUnknownRoom) {
		return nil, err
	}
	return f.candidates([]id.ServerName{req.Room.Server()}, known), nil
}

// joinThrough makes the handshake with one resident server. SS v1.16 #joining-rooms
func (f *Federation) joinThrough(ctx context.Context, server id.ServerName, req JoinRequest) error {
	if err := f.settle(ctx, server, req.Room); err != nil {
		return err
	}
	template, err := f.cfg.Client.MakeJoin(ctx, server, req.Room, req.User, roomver.Names())
	if err != nil {
		return err
	}
	join, err := f.sign(ctx, server, template, proposal{req.Room, req.User, event.Join, req.Content})
	if err != nil {
		return err
	}
	sink := &joinSink{room: req.Room, version: join.Version}
	answer, err := f.cfg.Client.SendJoin(ctx, server, req.Room, join.ID, join.JSON, f.cfg.JoinLimit, sink)
	if err != nil {
		return err
	}
	if join, err = f.countersigned(ctx, server, join, answer.Event); err != nil {
		return err
	}
	imported, err := f.checkJoin(ctx, server, join, sink)
	if err != nil {
		return err
	}
	// The resident tells the room of the join; we would only say it twice.
	f.Sender.Silence(join.ID)
	if err := f.cfg.Rooms.Import(ctx, imported); err != nil {
		return fmt.Errorf("import a joined room: %w", err)
	}
	return nil
}

// countersigned takes over the resident's copy of our join where it vouches for it. It must be the same event.
func (f *Federation) countersigned(ctx context.Context, server id.ServerName, join *event.PDU, raw json.RawMessage) (*event.PDU, error) {
	via := join.AuthorisedVia()
	needed := via != "" && via.Server() != f.cfg.Server
	if len(raw) == 0 {
		if needed {
			return nil, &ssclient.Malformed{Server: server, Reason: "restricted join is not countersigned"}
		}
		return join, nil
	}
	signed, err := event.Parse(raw, join.Version)
	if err != nil || signed.ID != join.ID || !signed.HashMatches() {
		if needed {
			return nil, &ssclient.Malformed{Server: server, Reason: "join came back as another event"}
		}
		return join, nil
	}
	if err := f.Keys.VerifyPDU(ctx, signed); err != nil {
		if needed {
			return nil, &ssclient.Malformed{Server: server, Reason: "join came back badly signed"}
		}
		return join, nil
	}
	return signed, nil
}

// joinSink parses the answer to send_join while it comes in.
type joinSink struct {
	room    id.RoomID
	version *roomver.Version
	events  []*event.PDU // each once
	state   []id.EventID
	chain   []id.EventID
	seen    map[id.EventID]bool
}

// errForeign aborts a join whose answer speaks about another room (A19).
var errForeign = &ssclient.Malformed{Reason: "send_join answer holds events of another room"}

func (s *joinSink) State(raw []byte) error     { return s.take(raw, &s.state) }
func (s *joinSink) AuthChain(raw []byte) error { return s.take(raw, &s.chain) }

// take parses one event. Malformed ones are left out: rooms hold events that older servers let pass, and one of them must
// not keep everybody else out.
func (s *joinSink) take(raw []byte, list *[]id.EventID) error {
	ev, err := event.Parse(raw, s.version)
	if err != nil {
		return nil
	}
	if ev.RoomID != s.room {
		return errForeign
	}
	if s.seen == nil {
		s.seen = map[id.EventID]bool{}
	}
	*list = append(*list, ev.ID)
	if !s.seen[ev.ID] {
		s.seen[ev.ID] = true
		s.events = append(s.events, ev)
	}
	return nil
}

// checkJoin verifies the events and sorts them into state and auth chain. What is not properly signed is left out; without
// a create event of the right version there is no room.
func (f *Federation) checkJoin(ctx context.Context, server id.ServerName, join *event.PDU, sink *joinSink) (room.JoinAnswer, error) {
	good := f.verifyAll(ctx, sink.events, keyPatience)
	sink.events, sink.seen = nil, nil
	byID := make(map[id.EventID]*event.PDU, len(good))
	for _, ev := range good {
		byID[ev.ID] = ev
	}
	answer := room.JoinAnswer{Origin: server, Room: sink.room, Join: join,
		State: pick(byID, sink.state), AuthChain: pick(byID, sink.chain)}
	for _, ev := range answer.State {
		if !ev.IsCreate() {
			continue
		}
		version, ok := canonical.GetString(ev.Content, "room_version")
		if !ok {
			version = "1"
		}
		if version != join.Version.ID {
			return answer, &ssclient.Malformed{Server: server, Reason: "room is of another version than was said"}
		}
		return answer, nil
	}
	return answer, &ssclient.Malformed{Server: server, Reason: "send_join answer without a verifiable create event"}
}

func pick(byID map[id.EventID]*event.PDU, ids []id.EventID) []*event.PDU {
	picked := make([]*event.PDU, 0, len(ids))
	for _, ev := range ids {
		if pdu := byID[ev]; pdu != nil {
			picked = append(picked, pdu)
		}
	}
	return picked
}

// Knock lets a local user knock on a room through another server. SS v1.16 #knocking-rooms
func (f *Federation) Knock(ctx context.Context, req JoinRequest) error {
	servers, err := f.residents(ctx, req, nil)
	if err != nil {
		return err
	}
	return throughOne(ctx, servers, func(server id.ServerName) error { return f.knockThrough(ctx, server, req) })
}

func (f *Federation) knockThrough(ctx context.Context, server id.ServerName, req JoinRequest) error {
	var knocking []string
	for _, v := range roomver.All() {
		if v.Knock {
			knocking = append(knocking, v.ID)
		}
	}
	if err := f.settle(ctx, server, req.Room); err != nil {
		return err
	}
	template, err := f.cfg.Client.MakeKnock(ctx, server, req.Room, req.User, knocking)
	if err != nil {
		return err
	}
	knock, err := f.sign(ctx, server, template, proposal{req.Room, req.User, event.Knock, req.Content})
	if err != nil {
		return err
	}
	if !knock.Version.Knock {
		return errTemplate
	}
	stripped, err := f.cfg.Client.SendKnock(ctx, server, req.Room, knock.ID, knock.JSON)
	if err != nil {
		return err
	}
	f.Sender.Silence(knock.ID)
	if err := f.cfg.Rooms.KnockSent(ctx, knock, strippedOf(stripped, knock.Version)); err != nil {
		return fmt.Errorf("remember a knock: %w", err)
	}
	return nil
}

// Leave rejects an invite or takes back a knock in a room we are not in. The server that invited is told, or one of via; if
// none of them takes it, the user is rid of the invite all the same. SS v1.16 #leaving-rooms
func (f *Federation) Leave(ctx context.Context, c room.MembershipChange, via []id.ServerName) error {
	inviter, err := f.inviter(ctx, c.Room, c.Sender)
	if err != nil {
		return err
	}
	for _, server := range f.candidates(inviter, via, []id.ServerName{c.Room.Server()}) {
		err := f.leaveThrough(ctx, server, c)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		f.cfg.Log.Info("leave through another server", obs.KeyError, err)
	}
	if err := f.cfg.Rooms.RejectLocally(ctx, c.Room, c.Sender); err != nil {
		return fmt.Errorf("reject an invite: %w", err)
	}
	return nil
}

func (f *Federation) leaveThrough(ctx context.Context, server id.ServerName, c room.MembershipChange) error {
	template, err := f.cfg.Client.MakeLeave(ctx, server, c.Room, c.Sender)
	if err != nil {
		return err
	}
	content := c.Content
	if c.Reason != "" && len(content) == 0 {
		content = append(canonical.AppendString([]byte(`{"reason":`), c.Reason), '}')
	}
	leave, err := f.sign(ctx, server, template, proposal{c.Room, c.Sender, event.Leave, content})
	if err != nil {
		return err
	}
	if err := f.cfg.Client.SendLeave(ctx, server, c.Room, leave.ID, leave.JSON); err != nil {
		return err
	}
	f.Sender.Silence(leave.ID)
	if err := f.cfg.Rooms.LeftRemotely(ctx, leave); err != nil {
		return fmt.Errorf("remember a leave: %w", err)
	}
	return nil
}

var errNotSigned = errors.New("invite came back unsigned")

// Invite invites a user of another server into a room we are in. SS v1.16 #inviting-to-a-room
func (f *Federation) Invite(ctx context.Context, c room.MembershipChange) (id.EventID, error) {
	invite, stripped, err := f.cfg.Rooms.PrepareInvite(ctx, c)
	if err != nil {
		return "", err
	}
	summary, err := f.FullState(ctx, c.Room, stripped)
	if err != nil {
		return "", err
	}
	server := c.Target.Server()
	if err := f.settle(ctx, server, c.Room); err != nil {
		return "", err
	}
	raw, err := f.cfg.Client.Invite(ctx, server, c.Room, invite.ID, ssclient.Invitation{Version: invite.Version.ID, Event: invite.JSON, State: summary})
	if err != nil {
		var tried attempts
		tried.add(err)
		return "", tried.told()
	}
	signed, err := event.Parse(raw, invite.Version)
	if err != nil || signed.ID != invite.ID || !signed.HashMatches() {
		return "", ssclient.Gateway(&ssclient.Malformed{Server: server, Reason: "invite came back as another event"})
	}
	if err := f.signedBy(ctx, signed, server); err != nil {
		return "", ssclient.Gateway(&ssclient.Malformed{Server: server, Reason: err.Error()})
	}
	return f.cfg.Rooms.FinishInvite(ctx, signed)
}

// signedBy checks that a server has signed an event that it needs not sign by the rules for all events.
func (f *Federation) signedBy(ctx context.Context, ev *event.PDU, server id.ServerName) error {
	for _, key := range ev.SignatureKeys(server) {
		pub, err := f.Keys.forEvent(ctx, ev, server, key)
		if err == nil && ev.Verify(server, key, pub) == nil {
			return f.Keys.VerifyPDU(ctx, ev)
		}
	}
	return errNotSigned
}
