// Package notice lets the operators of a domain speak to its users: each has one room for it, in which nobody but the server
// writes. It makes that room, invites, and sends; who may ask for it is decided by the API. CS v1.16 #server-notices
//
// A Keeper holds no state of its own and is safe for concurrent use.
package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Localpart names the user who sends notices. The leading underscore keeps people from registering it.
const Localpart = "_server"

// tag marks the room for clients. CS v1.16 #server-notices
const tag = "m.server_notice"

// Config is what a Keeper stands on.
type Config struct {
	Server   id.ServerName
	Store    *store.DB
	Accounts *account.Keeper
	Rooms    *room.Engine
}

// Keeper sends the notices of one domain.
type Keeper struct{ cfg Config }

// New assembles a Keeper.
func New(cfg Config) *Keeper { return &Keeper{cfg} }

// Notice is what is said, to whom.
type Notice struct {
	User     id.UserID
	Type     string  // "" means m.room.message
	StateKey *string // nil for what is no state event
	Content  json.RawMessage

	// Admin and TxnID name the request: the same two with the same user give the same event. TxnID "" has none.
	Admin id.UserID
	TxnID string
}

// Sender is the user who sends notices.
func (k *Keeper) Sender() id.UserID { return id.UserID("@" + Localpart + ":" + string(k.cfg.Server)) }

// Send sends a notice, and invites the user who is not in their room. M_NOT_FOUND for somebody who has no account here.
func (k *Keeper) Send(ctx context.Context, n Notice) (id.EventID, error) {
	if n.User.Server() != k.cfg.Server {
		return "", mxerr.InvalidParam("Server notices go to users of this server only")
	}
	if _, err := k.cfg.Accounts.Account(ctx, n.User); err != nil {
		return "", err
	}
	in, err := k.room(ctx, n.User)
	if err != nil {
		return "", err
	}
	if n.Type == "" {
		n.Type = "m.room.message"
	}
	sent, err := k.cfg.Rooms.Send(ctx, room.Draft{
		Room: in, Sender: k.Sender(), Type: n.Type, StateKey: n.StateKey, Content: n.Content,
		TxnScope: "notice " + string(n.Admin), TxnID: n.TxnID,
	})
	if err != nil {
		return "", fmt.Errorf("send a server notice: %w", err)
	}
	return sent, k.invite(ctx, in, n.User)
}

// CheckLeave refuses to reject the invite to one's notices. Who has joined may leave. CS v1.16 #server-notices
func (k *Keeper) CheckLeave(ctx context.Context, user id.UserID, in id.RoomID) error {
	own, err := k.roomOf(ctx, user)
	if err != nil || own != in {
		return err
	}
	now, err := k.cfg.Rooms.Membership(ctx, in, user)
	if err == nil && now == event.Invite {
		return mxerr.New(http.StatusForbidden, mxerr.CodeCannotLeaveServerNoticeRoom, "You cannot reject this invite")
	}
	return err
}

// roomOf is the user's room, "" for none.
func (k *Keeper) roomOf(ctx context.Context, user id.UserID) (in id.RoomID, err error) {
	err = k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		in, err = tx.ServerNoticeRoom(ctx, user)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return in, err
}

// room finds or makes the user's room.
func (k *Keeper) room(ctx context.Context, user id.UserID) (id.RoomID, error) {
	old, err := k.roomOf(ctx, user)
	if err != nil {
		return "", fmt.Errorf("look up a room for server notices: %w", err)
	}
	if old != "" {
		// A room that the server is no longer in (it was upgraded, say) is of no use.
		if now, err := k.cfg.Rooms.Membership(ctx, old, k.Sender()); err != nil || now == event.Join {
			return old, err
		}
	}
	made, err := k.make(ctx)
	if err != nil {
		return "", fmt.Errorf("make a room for server notices: %w", err)
	}
	var in id.RoomID
	err = k.cfg.Store.Write(ctx, func(tx *store.Tx) (err error) {
		in, err = tx.SetServerNoticeRoom(ctx, user, old, made)
		return err
	})
	if err != nil || in == made {
		return in, err
	}
	// Another notice was faster: nobody has seen this room.
	_, err = k.cfg.Rooms.Leave(ctx, room.MembershipChange{Room: made, Sender: k.Sender(), Target: k.Sender()})
	return in, err
}

func (k *Keeper) make(ctx context.Context) (id.RoomID, error) {
	_, err := k.cfg.Accounts.Register(ctx, account.NewAccount{Localpart: Localpart, Reserved: true, DisplayName: "Server Notices"})
	if err != nil && !mxerr.Is(err, mxerr.CodeUserInUse) {
		return "", err
	}
	made, err := k.cfg.Rooms.Create(ctx, room.CreateRequest{
		Creator: k.Sender(), Preset: "private_chat", Name: "Server Notices",
		// Who is spoken to here can neither write nor invite.
		PowerLevelOverride: json.RawMessage(`{"users_default":-10,"invite":50}`),
		CreationContent:    json.RawMessage(`{"m.federate":false}`),
	})
	return made.Room, err
}

// invite asks the user in who is neither in nor invited, and marks the room as what it is.
func (k *Keeper) invite(ctx context.Context, in id.RoomID, user id.UserID) error {
	now, err := k.cfg.Rooms.Membership(ctx, in, user)
	if err != nil || now == event.Join || now == event.Invite {
		return err
	}
	if err := k.cfg.Accounts.SetTag(ctx, user, in, tag, json.RawMessage("{}")); err != nil {
		return fmt.Errorf("tag a room for server notices: %w", err)
	}
	if _, err := k.cfg.Rooms.Invite(ctx, room.MembershipChange{Room: in, Sender: k.Sender(), Target: user}); err != nil {
		return fmt.Errorf("invite to server notices: %w", err)
	}
	return nil
}
