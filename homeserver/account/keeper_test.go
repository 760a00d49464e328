package account_test

import (
	"context"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const server = id.ServerName("klinik.test")

// world is a keeper on a fresh store, with a clock that stands still.
type world struct {
	*account.Keeper
	store *store.DB
	clock *clock.Fake
}

// eachWorld runs a test on each engine.
func eachWorld(t *testing.T, change func(*account.Config), fn func(t *testing.T, w world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, url string) { fn(t, openWorld(t, url, change)) })
}

// sqliteWorld is for what does not depend on the engine.
func sqliteWorld(t testing.TB, change func(*account.Config)) world {
	t.Helper()
	return openWorld(t, dbtest.SQLite(t), change)
}

func openWorld(t testing.TB, url string, change func(*account.Config)) world {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: url, Domain: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	fake := clock.NewFake(time.Unix(1_700_000_000, 0))
	cfg := account.Config{
		Server: server, Store: db, Notify: notify.New(), Clock: fake, Hasher: account.NewHasher(account.CheapCost),
		Registration: account.Open, SharedSecret: "secret", MinPassword: 6, UnlimitedLogins: true,
	}
	if change != nil {
		change(&cfg)
	}
	return world{account.New(cfg), db, fake}
}

// user makes an account with the password "password".
func (w world) user(t *testing.T, localpart string) id.UserID {
	t.Helper()
	user, err := w.Register(t.Context(), account.NewAccount{Localpart: localpart, Password: "password"})
	if err != nil {
		t.Fatal(err)
	}
	return user
}

func (w world) login(t *testing.T, user id.UserID, ask account.NewSession) account.Session {
	t.Helper()
	s, err := w.Login(t.Context(), user, ask)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantCode fails unless err is a refusal with this code.
func wantCode(t *testing.T, err error, code string) *mxerr.Error {
	t.Helper()
	e, ok := mxerr.As(err)
	if !ok || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w world) position() int64 { return w.store.Position() }

func (w world) since(t *testing.T, user id.UserID, after int64) []store.AccountData {
	t.Helper()
	var all []store.AccountData
	must(t, w.store.Read(context.Background(), func(tx *store.Tx) (err error) {
		all, err = tx.AccountDataSince(context.Background(), user, after, w.position())
		return err
	}))
	return all
}
