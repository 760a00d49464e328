package account_test

import (
	"net/netip"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestTokens(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		s := w.login(t, anna, account.NewSession{Device: "PHONE", DeviceName: "Annas Telefon"})
		caller, err := w.Authenticate(t.Context(), s.AccessToken)
		must(t, err)
		if caller.User != anna || caller.Device != "PHONE" || caller.Admin {
			t.Errorf("caller is %+v", caller)
		}
		_, err = w.Authenticate(t.Context(), s.AccessToken+"x")
		if e := wantCode(t, err, mxerr.CodeUnknownToken); e.Extra["soft_logout"] != nil {
			t.Error("an unknown token is no soft logout")
		}

		again := w.login(t, anna, account.NewSession{Device: "PHONE"})
		_, err = w.Authenticate(t.Context(), s.AccessToken)
		wantCode(t, err, mxerr.CodeUnknownToken) // the device was taken over
		_, err = w.Authenticate(t.Context(), again.AccessToken)
		must(t, err)
		d, err := w.Device(t.Context(), anna, "PHONE")
		must(t, err)
		if d.DisplayName != "Annas Telefon" {
			t.Errorf("display name is %q: a known device keeps its own", d.DisplayName)
		}

		must(t, w.DeleteDevices(t.Context(), anna, []id.DeviceID{"PHONE", "NONE"}))
		_, err = w.Authenticate(t.Context(), again.AccessToken)
		wantCode(t, err, mxerr.CodeUnknownToken)
		_, err = w.Device(t.Context(), anna, "PHONE")
		wantCode(t, err, mxerr.CodeNotFound)
	})
}

// A token that is in memory already must hear of what an administrator decides.
func TestAccountFlagsReachTokensInUse(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	token := w.login(t, anna, account.NewSession{}).AccessToken
	for _, want := range []account.Caller{{Locked: true}, {Suspended: true}, {Admin: true}, {}} {
		if _, err := w.Authenticate(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		must(t, w.ChangeAccount(t.Context(), anna, func(a *store.Account) {
			a.Locked, a.Suspended, a.Admin = want.Locked, want.Suspended, want.Admin
		}))
		got, err := w.Authenticate(t.Context(), token)
		must(t, err)
		if got.Locked != want.Locked || got.Suspended != want.Suspended || got.Admin != want.Admin {
			t.Errorf("caller is %+v, want %+v", got, want)
		}
	}
	wantCode(t, w.ChangeAccount(t.Context(), "@nobody:klinik.test", func(*store.Account) {}), mxerr.CodeNotFound)
}

func TestRefresh(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		first := w.login(t, anna, account.NewSession{Refresh: true})
		if first.RefreshToken == "" || first.Expires != time.Hour {
			t.Fatalf("session is %+v", first)
		}
		w.clock.Advance(time.Hour)
		_, err := w.Authenticate(t.Context(), first.AccessToken)
		if e := wantCode(t, err, mxerr.CodeUnknownToken); e.Extra["soft_logout"] != true {
			t.Error("an expired token is a soft logout")
		}
		lost, err := w.Refresh(t.Context(), first.RefreshToken)
		must(t, err)
		// The answer got lost: the client tries again with what it has. CS v1.16 #refreshing-access-tokens
		second, err := w.Refresh(t.Context(), first.RefreshToken)
		must(t, err)
		_, err = w.Authenticate(t.Context(), lost.AccessToken)
		wantCode(t, err, mxerr.CodeUnknownToken)
		caller, err := w.Authenticate(t.Context(), second.AccessToken)
		must(t, err)
		if caller.User != anna || caller.Device != first.Device {
			t.Errorf("caller is %+v", caller)
		}
		third, err := w.Refresh(t.Context(), second.RefreshToken)
		must(t, err)
		_, err = w.Authenticate(t.Context(), second.AccessToken)
		must(t, err) // good until the new one is used
		_, err = w.Authenticate(t.Context(), third.AccessToken)
		must(t, err)
		_, err = w.Authenticate(t.Context(), second.AccessToken)
		wantCode(t, err, mxerr.CodeUnknownToken)
	})
}

func TestB11RefreshTokenReuseEndsTheSession(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		owner := w.login(t, anna, account.NewSession{Refresh: true})
		thief := owner.RefreshToken
		owner, err := w.Refresh(t.Context(), owner.RefreshToken)
		must(t, err)
		_, err = w.Authenticate(t.Context(), owner.AccessToken)
		must(t, err)
		_, err = w.Refresh(t.Context(), thief)
		if e := wantCode(t, err, mxerr.CodeUnknownToken); e.Extra["soft_logout"] != true {
			t.Error("the owner must keep the device")
		}
		_, err = w.Authenticate(t.Context(), owner.AccessToken)
		if e := wantCode(t, err, mxerr.CodeUnknownToken); e.Extra["soft_logout"] != true {
			t.Error("the owner must keep the device")
		}
		_, err = w.Refresh(t.Context(), owner.RefreshToken)
		wantCode(t, err, mxerr.CodeUnknownToken)
		if _, err := w.Device(t.Context(), anna, owner.Device); err != nil {
			t.Errorf("the device is gone: %v", err)
		}
	})
}

func TestRefreshRefuses(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	s := w.login(t, anna, account.NewSession{Refresh: true})
	for _, token := range []string{"", ".", "nonsense", s.AccessToken, "x" + s.RefreshToken} {
		_, err := w.Refresh(t.Context(), token)
		wantCode(t, err, mxerr.CodeUnknownToken)
	}
	must(t, w.ChangeAccount(t.Context(), anna, func(a *store.Account) { a.Locked = true }))
	_, err := w.Refresh(t.Context(), s.RefreshToken)
	wantCode(t, err, mxerr.CodeUserLocked)
	must(t, w.ChangeAccount(t.Context(), anna, func(a *store.Account) { a.Locked = false }))
	w.clock.Advance(90 * 24 * time.Hour)
	_, err = w.Refresh(t.Context(), s.RefreshToken)
	wantCode(t, err, mxerr.CodeUnknownToken)
}

func TestLastSeenIsWrittenLater(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	s := w.login(t, anna, account.NewSession{})
	caller, err := w.Authenticate(t.Context(), s.AccessToken)
	must(t, err)
	w.clock.Advance(time.Minute)
	w.Seen(caller, netip.MustParseAddr("192.0.2.7"), "Browser/1\x00\xff")
	must(t, w.Flush(t.Context()))
	d, err := w.Device(t.Context(), anna, s.Device)
	must(t, err)
	if d.LastSeen != w.clock.Now().UnixMilli() || d.LastSeenIP != "192.0.2.7" || d.LastSeenAgent != "Browser/1" {
		t.Errorf("device is %+v", d)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	w := sqliteWorld(b, nil)
	user, err := w.Register(b.Context(), account.NewAccount{Localpart: "anna", Password: "password"})
	if err != nil {
		b.Fatal(err)
	}
	s, err := w.Login(b.Context(), user, account.NewSession{})
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.7")
	for b.Loop() {
		caller, err := w.Authenticate(b.Context(), s.AccessToken)
		if err != nil {
			b.Fatal(err)
		}
		w.Seen(caller, addr, "Browser/1")
	}
}
