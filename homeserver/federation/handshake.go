package federation

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"konsil/client/ssclient"
	"konsil/homeserver/room"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// errTemplate says that a resident server proposed something else than was asked for (A18).
var errTemplate = errors.New("template is not what was asked for")

// proposal is a membership event of a local user to be made through another server.
type proposal struct {
	room       id.RoomID
	user       id.UserID
	membership string
	content    json.RawMessage // further fields of the content, may be nil
}

// sign turns a template into our event, having checked that it is what was asked for: nothing the resident server says gets
// into the event but its place in the graph and, for a restricted join, who vouches for it.
// SS v1.16 #get_matrixfederationv1make_joinroomiduserid, CVE-2026-24471
func (f *Federation) sign(ctx context.Context, server id.ServerName, t ssclient.Template, p proposal) (*event.PDU, error) {
	version, ok := roomver.Get(t.Version)
	if !ok {
		return nil, mxerr.UnsupportedRoomVersion()
	}
	proposed, err := event.ParseTemplate(t.Event, version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTemplate, err)
	}
	membership, _ := canonical.GetString(proposed.Content, "membership")
	switch {
	case proposed.RoomID != p.room, proposed.Sender != p.user, proposed.Type != event.TypeMember,
		proposed.StateKey == nil || *proposed.StateKey != string(p.user), membership != p.membership:
		return nil, errTemplate
	case len(proposed.PrevEvents) > event.MaxPrevEvents, len(proposed.AuthEvents) > event.MaxAuthEvents:
		return nil, errTemplate
	}
	via := ""
	if version.Restricted && p.membership == event.Join {
		if via, err = voucher(proposed.Content); err != nil {
			return nil, err
		}
	}
	content, err := f.memberContent(ctx, p, via)
	if err != nil {
		return nil, err
	}
	proposed.Content = content
	proposed.OriginServerTS = f.cfg.Clock.Now().UnixMilli()
	proposed.ID, proposed.Redacts = "", ""
	if !version.HashedEventIDs() {
		if proposed.ID, err = id.NewEventID(rand.Reader, f.cfg.Server); err != nil {
			return nil, err
		}
	}
	ev, err := event.Build(version, proposed, f.cfg.Server, f.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", p.membership, err)
	}
	return ev, nil
}

// voucher reads who vouches for a restricted join, "" for nobody.
func voucher(content []byte) (string, error) {
	const field = "join_authorised_via_users_server"
	value, found := canonical.Get(content, field)
	if !found {
		return "", nil
	}
	text, ok := canonical.String(value)
	if !ok {
		return "", errTemplate
	}
	if _, err := id.ParseUserID(text); err != nil {
		return "", errTemplate
	}
	return text, nil
}

// memberContent is our own content: what the client gave, the user's profile, the membership last so that nothing displaces it.
func (f *Federation) memberContent(ctx context.Context, p proposal, via string) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if p.membership != event.Leave && f.cfg.Profile != nil {
		profile, err := f.cfg.Profile(ctx, p.user)
		if err != nil {
			return nil, fmt.Errorf("profile for %s: %w", p.membership, err)
		}
		put(fields, "displayname", profile.DisplayName)
		put(fields, "avatar_url", profile.AvatarURL)
	}
	if len(bytes.TrimSpace(p.content)) > 0 {
		if err := json.Unmarshal(p.content, &fields); err != nil {
			return nil, mxerr.BadJSON("Content is not an object")
		}
	}
	delete(fields, "join_authorised_via_users_server")
	put(fields, "join_authorised_via_users_server", via)
	put(fields, "membership", p.membership)
	return json.Marshal(fields)
}

func put(fields map[string]json.RawMessage, key, value string) {
	if value == "" {
		return
	}
	fields[key] = canonical.AppendString(nil, value)
}

// maxCandidates is how many servers are tried for one handshake.
const maxCandidates = 10

// candidates joins lists of servers worth trying, best first, without us.
func (f *Federation) candidates(lists ...[]id.ServerName) []id.ServerName {
	var all []id.ServerName
	for _, list := range lists {
		for _, server := range list {
			if server != "" && server != f.cfg.Server && !slices.Contains(all, server) && len(all) < maxCandidates {
				all = append(all, server)
			}
		}
	}
	return all
}

// inviter is the server of whoever invited the user, if an invite is there.
func (f *Federation) inviter(ctx context.Context, room id.RoomID, user id.UserID) ([]id.ServerName, error) {
	sender, err := f.memberSender(ctx, room, user)
	if err != nil || sender == "" || sender == user {
		return nil, err
	}
	return []id.ServerName{sender.Server()}, nil
}

// memberSender is who sent the user's member event as far as the user's own list of rooms knows, "" for nobody.
func (f *Federation) memberSender(ctx context.Context, roomID id.RoomID, user id.UserID) (id.UserID, error) {
	r, err := f.cfg.Rooms.UserRoom(ctx, user, roomID)
	if errors.Is(err, room.ErrUnknownRoom) || err == nil && r.Event == 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("membership of a user: %w", err)
	}
	evs, err := f.cfg.Rooms.EventsByNID(ctx, []int64{r.Event})
	if err != nil || len(evs) == 0 {
		return "", err
	}
	return evs[0].Sender, nil
}

// attempts remembers the most telling error of several servers.
type attempts struct {
	err  error
	rank int
}

// add notes an error: a refusal tells more than nonsense, nonsense more than silence.
func (a *attempts) add(err error) {
	rank := 1
	var wrong *ssclient.Malformed
	if e, ok := ssclient.Answered(err); ok {
		switch {
		case e.Status == http.StatusForbidden:
			rank = 6
		case e.Code == mxerr.CodeUnableToGrantJoin, e.Code == mxerr.CodeUnableToAuthorizeJoin:
			rank = 5
		case e.Status == http.StatusNotFound:
			rank = 4
		default:
			rank = 3
		}
	} else if _, ours := mxerr.As(err); ours {
		rank = 7
	} else if errors.As(err, &wrong) || errors.Is(err, errTemplate) {
		rank = 2
	}
	if rank > a.rank {
		a.err, a.rank = err, rank
	}
}

// final reports whether a refusal holds for every other server as well.
func final(err error) bool {
	if _, ours := mxerr.As(err); ours {
		return true
	}
	e, ok := ssclient.Answered(err)
	return ok && (e.Status == http.StatusForbidden && e.Code == mxerr.CodeForbidden || e.Code == mxerr.CodeIncompatibleRoomVersion)
}

// told is what the client gets to hear of a failed handshake.
func (a *attempts) told() error {
	if a.err == nil {
		return mxerr.NotFound("No server is known through which the room could be reached")
	}
	if errors.Is(a.err, errTemplate) {
		return mxerr.New(http.StatusBadGateway, mxerr.CodeUnknown, "The other server refused or answered nonsense")
	}
	return ssclient.Relay(a.err, mxerr.CodeForbidden, mxerr.CodeNotFound, mxerr.CodeIncompatibleRoomVersion,
		mxerr.CodeUnsupportedRoomVersion, mxerr.CodeUnableToAuthorizeJoin, mxerr.CodeUnableToGrantJoin, mxerr.CodeInviteBlocked)
}
