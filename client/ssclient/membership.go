package ssclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const (
	federationV1 = "/_matrix/federation/v1"
	federationV2 = "/_matrix/federation/v2"
)

// Template is the answer to make_join, make_leave and make_knock. SS v1.16 #get_matrixfederationv1make_joinroomiduserid
type Template struct {
	Version string          `json:"room_version"` // "" means 1
	Event   json.RawMessage `json:"event"`
}

// MakeJoin asks a resident server for the template of a join. versions are the room versions we support.
func (c *Client) MakeJoin(ctx context.Context, server id.ServerName, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	return c.template(ctx, server, "make_join", room, user, versions)
}

// MakeKnock asks for the template of a knock.
func (c *Client) MakeKnock(ctx context.Context, server id.ServerName, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	return c.template(ctx, server, "make_knock", room, user, versions)
}

// MakeLeave asks for the template of a leave: to reject an invite, or to take a knock back.
func (c *Client) MakeLeave(ctx context.Context, server id.ServerName, room id.RoomID, user id.UserID) (Template, error) {
	return c.template(ctx, server, "make_leave", room, user, nil)
}

func (c *Client) template(ctx context.Context, server id.ServerName, verb string, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	query := url.Values{}
	for _, v := range versions {
		query.Add("ver", v)
	}
	var t Template
	err := c.call(ctx, server, call{kind: handshake, method: http.MethodGet,
		path: withQuery(path(federationV1, verb, string(room), string(user)), query)}, &t)
	if err != nil {
		return Template{}, err
	}
	if len(t.Event) == 0 {
		return Template{}, malformed(server, "template without event")
	}
	if t.Version == "" {
		t.Version = "1"
	}
	return t, nil
}

// JoinSink takes the answer to send_join while it comes in. The bytes it gets are good until it returns; an error of it
// ends the reading and is returned.
type JoinSink interface {
	State(pdu []byte) error
	AuthChain(pdu []byte) error
}

// Joined is the rest of that answer.
type Joined struct {
	Event          json.RawMessage // the join with the resident's signature, nil if it was not sent back
	MembersOmitted bool
	Servers        []id.ServerName
}

// SendJoin hands a signed join to the resident server and streams its answer to sink, whose memory alone grows with the
// room. limit bounds the answer in bytes, 0 takes the default of 512 MiB (A19). Older servers without v2 are asked by v1.
// SS v1.16 #put_matrixfederationv2send_joinroomideventid
func (c *Client) SendJoin(ctx context.Context, server id.ServerName, room id.RoomID, event id.EventID, join []byte, limit int64, sink JoinSink) (Joined, error) {
	k := largeState
	if limit > 0 {
		k.size = limit
	}
	resp, err := c.send(ctx, server, call{kind: k, method: http.MethodPut, body: join,
		path: withQuery(path(federationV2, "send_join", string(room), string(event)), url.Values{"omit_members": {"false"}})})
	v1 := false
	if unsupported(err) {
		v1 = true
		resp, err = c.send(ctx, server, call{kind: k, method: http.MethodPut, body: join, path: path(federationV1, "send_join", string(room), string(event))})
	}
	if err != nil {
		return Joined{}, err
	}
	defer resp.Body.Close()
	s := newJSONStream(resp.Body)
	if v1 {
		if err := s.enterPair(); err != nil {
			return Joined{}, streamFailed(server, err)
		}
	}
	answer, err := readJoin(s, sink)
	if err != nil {
		return Joined{}, streamFailed(server, err)
	}
	return answer, nil
}

// errSink marks an error as the sink's own.
type errSink struct{ error }

func (e errSink) Unwrap() error { return e.error }

func readJoin(s *jsonStream, sink JoinSink) (Joined, error) {
	var answer Joined
	guard := func(fn func([]byte) error) func([]byte) error {
		return func(raw []byte) error {
			if err := fn(raw); err != nil {
				return errSink{err}
			}
			return nil
		}
	}
	hasState, hasAuth := false, false
	for {
		key, ok, err := s.field()
		if err != nil {
			return answer, err
		}
		if !ok {
			break
		}
		switch key {
		case "state":
			hasState = true
			err = s.elements(guard(sink.State))
		case "auth_chain":
			hasAuth = true
			err = s.elements(guard(sink.AuthChain))
		case "event":
			var raw []byte
			if raw, err = s.value(); err == nil && len(raw) > 0 && raw[0] == '{' {
				answer.Event = append(json.RawMessage(nil), raw...)
			}
		case "members_omitted":
			var raw []byte
			if raw, err = s.value(); err == nil {
				answer.MembersOmitted = string(raw) == "true"
			}
		case "servers_in_room":
			err = s.elements(func(raw []byte) error {
				var name string
				if json.Unmarshal(raw, &name) == nil && len(answer.Servers) < 20_000 {
					if server, err := id.ParseServerName(name); err == nil {
						answer.Servers = append(answer.Servers, server)
					}
				}
				return nil
			})
		default:
			err = s.skip()
		}
		if err != nil {
			return answer, err
		}
	}
	if !hasState || !hasAuth {
		return answer, errStream
	}
	return answer, nil
}

// streamFailed sorts the errors of a streamed answer: the sink's own, our limits, broken connection, nonsense.
func streamFailed(server id.ServerName, err error) error {
	var own errSink
	switch {
	case errors.As(err, &own):
		return own.error
	case errors.Is(err, errStream), errors.Is(err, errElementSize):
		return malformed(server, "%v", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Unreachable{Server: server, Err: err}
	}
	return readFailed(server, err)
}

// unsupported reports whether a server does not know the endpoint, by any of the ways servers say so.
func unsupported(err error) bool {
	e, ok := Answered(err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusBadRequest) &&
		(e.Code == mxerr.CodeUnrecognized || e.Code == "")
}

// SendLeave hands in a signed leave, by v1 where the server knows no v2.
func (c *Client) SendLeave(ctx context.Context, server id.ServerName, room id.RoomID, event id.EventID, leave []byte) error {
	var ignored json.RawMessage
	err := c.call(ctx, server, call{kind: handshake, method: http.MethodPut, body: leave, path: path(federationV2, "send_leave", string(room), string(event))}, &ignored)
	if unsupported(err) {
		err = c.call(ctx, server, call{kind: handshake, method: http.MethodPut, body: leave, path: path(federationV1, "send_leave", string(room), string(event))}, &ignored)
	}
	return err
}

// SendKnock hands in a signed knock. The answer is the room's state as the resident shows it to who knocks.
func (c *Client) SendKnock(ctx context.Context, server id.ServerName, room id.RoomID, event id.EventID, knock []byte) ([]json.RawMessage, error) {
	var answer struct {
		State  []json.RawMessage `json:"knock_room_state"`
		Before []json.RawMessage `json:"knock_state_events"` // its name before the MSC was done
	}
	err := c.call(ctx, server, call{kind: handshake, method: http.MethodPut, body: knock, path: path(federationV1, "send_knock", string(room), string(event))}, &answer)
	if answer.State == nil {
		answer.State = answer.Before
	}
	return answer.State, err
}

// Invitation is what an invite over federation carries. SS v1.16 #put_matrixfederationv2inviteroomideventid
type Invitation struct {
	Version string            `json:"room_version"`
	Event   json.RawMessage   `json:"event"`
	State   []json.RawMessage `json:"invite_room_state"`
}

// Invite asks the invited user's server to sign an invite; the answer is the signed event. Rooms of versions 1 and 2 can
// be spoken about with servers that know v1 only.
func (c *Client) Invite(ctx context.Context, server id.ServerName, room id.RoomID, event id.EventID, invite Invitation) (json.RawMessage, error) {
	if invite.State == nil {
		invite.State = []json.RawMessage{}
	}
	var answer struct {
		Event json.RawMessage `json:"event"`
	}
	err := c.call(ctx, server, call{kind: handshake, method: http.MethodPut, body: invite, path: path(federationV2, "invite", string(room), string(event))}, &answer)
	if unsupported(err) && (invite.Version == "1" || invite.Version == "2") {
		return c.inviteV1(ctx, server, room, event, invite)
	}
	if err == nil && len(answer.Event) == 0 {
		err = malformed(server, "invite without event")
	}
	return answer.Event, err
}

// inviteV1 has the stripped state inside the event's unsigned data, and answers [200, {"event": …}].
func (c *Client) inviteV1(ctx context.Context, server id.ServerName, room id.RoomID, event id.EventID, invite Invitation) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(invite.Event, &fields); err != nil {
		return nil, err
	}
	unsigned, err := json.Marshal(map[string]any{"invite_room_state": invite.State})
	if err != nil {
		return nil, err
	}
	fields["unsigned"] = unsigned
	var answer []json.RawMessage
	err = c.call(ctx, server, call{kind: handshake, method: http.MethodPut, body: fields, path: path(federationV1, "invite", string(room), string(event))}, &answer)
	if err != nil {
		return nil, err
	}
	var second struct {
		Event json.RawMessage `json:"event"`
	}
	if len(answer) != 2 || json.Unmarshal(answer[1], &second) != nil || len(second.Event) == 0 {
		return nil, malformed(server, "invite without event")
	}
	return second.Event, nil
}
