package notice_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"testing"

	"konsil/homeserver/account"
	"konsil/homeserver/notice"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/db/dbtest"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

const (
	server = id.ServerName("klinik.test")
	anna   = id.UserID("@anna:klinik.test")
	admin  = id.UserID("@admin:klinik.test")
)

// office is a Keeper with what it stands on.
type office struct {
	*notice.Keeper
	t        *testing.T
	ctx      context.Context
	rooms    *room.Engine
	accounts *account.Keeper
}

func eachOffice(t *testing.T, fn func(t *testing.T, o *office)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, url string) {
		ctx := t.Context()
		db, err := store.Open(ctx, store.Config{URL: url, Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		key, err := sign.NewKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		n := notify.New()
		o := &office{t: t, ctx: ctx,
			rooms:    room.New(room.Config{Store: db, Notify: n, Server: server, Key: key}),
			accounts: account.New(account.Config{Server: server, Store: db, Notify: n, Registration: account.Open, Hasher: account.NewHasher(account.CheapCost)}),
		}
		o.Keeper = notice.New(notice.Config{Server: server, Store: db, Accounts: o.accounts, Rooms: o.rooms})
		if _, err := o.accounts.Register(ctx, account.NewAccount{Localpart: anna.Localpart(), Password: "a long password"}); err != nil {
			t.Fatal(err)
		}
		fn(t, o)
	})
}

// tell sends a notice and answers its event.
func (o *office) tell(n notice.Notice) *room.Event {
	o.t.Helper()
	if n.User == "" {
		n.User = anna
	}
	if n.Content == nil {
		n.Content = json.RawMessage(`{"msgtype":"m.server_notice","body":"Maintenance tonight"}`)
	}
	sent, err := o.Send(o.ctx, n)
	if err != nil {
		o.t.Fatal(err)
	}
	ev, err := o.rooms.Event(o.ctx, sent)
	if err != nil {
		o.t.Fatal(err)
	}
	return ev
}

func (o *office) membership(in id.RoomID, user id.UserID, want string) {
	o.t.Helper()
	if got, err := o.rooms.Membership(o.ctx, in, user); err != nil || got != want {
		o.t.Errorf("%s is %q, %v; want %q", user, got, err, want)
	}
}

func TestANoticeInvitesOnce(t *testing.T) {
	eachOffice(t, func(t *testing.T, o *office) {
		first := o.tell(notice.Notice{})
		if first.Sender != o.Sender() || first.Type != "m.room.message" {
			t.Errorf("%s from %s", first.Type, first.Sender)
		}
		o.membership(first.RoomID, anna, event.Invite)
		tags, err := o.accounts.Tags(o.ctx, anna, first.RoomID)
		if _, marked := tags["m.server_notice"]; err != nil || !marked {
			t.Errorf("tags %v, %v", tags, err)
		}
		if _, err := o.rooms.Join(o.ctx, room.MembershipChange{Room: first.RoomID, Sender: anna, Target: anna}); err != nil {
			t.Fatal(err)
		}
		second := o.tell(notice.Notice{Type: "m.room.topic", StateKey: new(string), Content: json.RawMessage(`{"topic":"from the server"}`)})
		if second.RoomID != first.RoomID || second.StateKey == nil {
			t.Errorf("the second notice stands in %s, state key %v", second.RoomID, second.StateKey)
		}
		o.membership(first.RoomID, anna, event.Join)
	})
}

// CS v1.16 #server-notices: the invite cannot be rejected, but who has joined may leave, and is asked in again by the next notice.
func TestTheInviteCannotBeRejected(t *testing.T) {
	eachOffice(t, func(t *testing.T, o *office) {
		in := o.tell(notice.Notice{}).RoomID
		if err := o.CheckLeave(o.ctx, anna, in); !mxerr.Is(err, mxerr.CodeCannotLeaveServerNoticeRoom) {
			t.Errorf("invited: %v", err)
		}
		if err := o.CheckLeave(o.ctx, anna, "!another:klinik.test"); err != nil {
			t.Errorf("another room: %v", err)
		}
		change := room.MembershipChange{Room: in, Sender: anna, Target: anna}
		if _, err := o.rooms.Join(o.ctx, change); err != nil {
			t.Fatal(err)
		}
		if err := o.CheckLeave(o.ctx, anna, in); err != nil {
			t.Errorf("joined: %v", err)
		}
		if _, err := o.rooms.Leave(o.ctx, change); err != nil {
			t.Fatal(err)
		}
		if again := o.tell(notice.Notice{}); again.RoomID != in {
			t.Errorf("another room: %s", again.RoomID)
		}
		o.membership(in, anna, event.Invite)
	})
}

func TestOnlyTheServerSpeaks(t *testing.T) {
	eachOffice(t, func(t *testing.T, o *office) {
		in := o.tell(notice.Notice{}).RoomID
		if _, err := o.rooms.Join(o.ctx, room.MembershipChange{Room: in, Sender: anna, Target: anna}); err != nil {
			t.Fatal(err)
		}
		_, err := o.rooms.Send(o.ctx, room.Draft{Room: in, Sender: anna, Type: "m.room.message", Content: json.RawMessage(`{"body":"hello?"}`)})
		if !mxerr.Is(err, mxerr.CodeForbidden) {
			t.Errorf("anna writes: %v", err)
		}
		_, err = o.rooms.Invite(o.ctx, room.MembershipChange{Room: in, Sender: anna, Target: "@boris:klinik.test"})
		if !mxerr.Is(err, mxerr.CodeForbidden) {
			t.Errorf("anna invites: %v", err)
		}
		if _, err := o.accounts.Register(o.ctx, account.NewAccount{Localpart: notice.Localpart, Password: "a long password"}); err == nil {
			t.Error("somebody can register as the server")
		}
	})
}

func TestNoticesGoToUsersOfThisServer(t *testing.T) {
	eachOffice(t, func(t *testing.T, o *office) {
		for user, want := range map[id.UserID]string{"@anna:praxis.test": mxerr.CodeInvalidParam, "@nobody:klinik.test": mxerr.CodeNotFound} {
			if _, err := o.Send(o.ctx, notice.Notice{User: user, Content: json.RawMessage(`{}`)}); !mxerr.Is(err, want) {
				t.Errorf("%s: %v, want %s", user, err, want)
			}
		}
	})
}

// A request that is repeated says nothing twice; many at once make one room.
func TestRepeatedAndConcurrentNotices(t *testing.T) {
	eachOffice(t, func(t *testing.T, o *office) {
		var all sync.WaitGroup
		rooms := make([]id.RoomID, 8)
		for i := range rooms {
			all.Go(func() {
				sent, err := o.Send(o.ctx, notice.Notice{User: anna, Content: json.RawMessage(`{"body":"all at once"}`)})
				if err != nil {
					t.Error(err)
					return
				}
				ev, err := o.rooms.Event(o.ctx, sent)
				if err != nil {
					t.Error(err)
					return
				}
				rooms[i] = ev.RoomID
			})
		}
		all.Wait()
		for _, r := range rooms {
			if r != rooms[0] {
				t.Errorf("two rooms: %s and %s", r, rooms[0])
			}
		}
		first := o.tell(notice.Notice{Admin: admin, TxnID: "1"})
		if again := o.tell(notice.Notice{Admin: admin, TxnID: "1"}); again.ID != first.ID {
			t.Error("a repeated request sends twice")
		}
		if other := o.tell(notice.Notice{Admin: "@second:klinik.test", TxnID: "1"}); other.ID == first.ID {
			t.Error("another administrator's transaction is taken for the first one's")
		}
	})
}

// A room that the server has left, because it was upgraded say, is replaced.
func TestALostRoomIsReplaced(t *testing.T) {
	eachOffice(t, func(t *testing.T, o *office) {
		old := o.tell(notice.Notice{}).RoomID
		if _, err := o.rooms.Leave(o.ctx, room.MembershipChange{Room: old, Sender: o.Sender(), Target: o.Sender()}); err != nil {
			t.Fatal(err)
		}
		next := o.tell(notice.Notice{}).RoomID
		if next == old {
			t.Fatal("the notice went into a room without the server")
		}
		o.membership(next, anna, event.Invite)
	})
}
