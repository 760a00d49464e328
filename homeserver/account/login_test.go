package account_test

import (
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestCheckPassword(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		must(t, w.CheckPassword(t.Context(), anna, "password"))
		wantCode(t, w.CheckPassword(t.Context(), anna, "Password"), mxerr.CodeForbidden)
		must(t, w.ChangePassword(t.Context(), anna, "another one"))
		wantCode(t, w.CheckPassword(t.Context(), anna, "password"), mxerr.CodeForbidden)
		must(t, w.CheckPassword(t.Context(), anna, "another one"))
		wantCode(t, w.ChangePassword(t.Context(), anna, "short"), mxerr.CodeWeakPassword)
	})
}

// Nobody may learn from an answer whether there is an account.
func TestB10LoginSaysTheSameOfAllThatIsWrong(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	gone := w.user(t, "gone")
	must(t, w.Deactivate(t.Context(), gone, false))
	robot, err := w.Register(t.Context(), account.NewAccount{Localpart: "robot"}) // without a password
	must(t, err)
	want := w.CheckPassword(t.Context(), anna, "wrong").Error()
	for _, user := range []id.UserID{"@nobody:klinik.test", gone, robot, "", "@anna:other.test"} {
		for _, password := range []string{"password", ""} {
			if err := w.CheckPassword(t.Context(), user, password); err == nil || err.Error() != want {
				t.Errorf("%q with %q: %v, want %s", user, password, err, want)
			}
		}
	}
}

func TestB11ManyPasswordsAreSlowedDown(t *testing.T) {
	w := sqliteWorld(t, func(c *account.Config) { c.UnlimitedLogins = false })
	anna, bert := w.user(t, "anna"), w.user(t, "bert")
	var err error
	for tries := 0; err == nil || mxerr.Is(err, mxerr.CodeForbidden); tries++ {
		if tries > 100 {
			t.Fatal("nobody stopped it")
		}
		err = w.CheckPassword(t.Context(), anna, "guess")
	}
	wantCode(t, err, mxerr.CodeLimitExceeded)
	must(t, w.CheckPassword(t.Context(), bert, "password")) // it is nobody else's fault
	w.clock.Advance(time.Hour)
	must(t, w.CheckPassword(t.Context(), anna, "password"))
}

func TestUserOf(t *testing.T) {
	w := sqliteWorld(t, nil)
	for given, want := range map[string]id.UserID{
		"anna": "@anna:klinik.test", "Anna": "@anna:klinik.test", "@ANNA:klinik.test": "@anna:klinik.test",
		"@anna:other.test": "", "@anna": "", "anna:klinik.test": "",
	} {
		if got, _ := w.UserOf(given); got != want {
			t.Errorf("UserOf(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestLoginTokensAreGoodOnceAndSoon(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	token, _, err := w.NewLoginToken(anna)
	must(t, err)
	user, err := w.RedeemLoginToken(token)
	must(t, err)
	if user != anna {
		t.Errorf("token of %s", user)
	}
	_, err = w.RedeemLoginToken(token)
	wantCode(t, err, mxerr.CodeForbidden)
	late, lifetime, err := w.NewLoginToken(anna)
	must(t, err)
	w.clock.Advance(lifetime)
	_, err = w.RedeemLoginToken(late)
	wantCode(t, err, mxerr.CodeForbidden)
}

func TestLoginRefuses(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	_, err := w.Login(t.Context(), "@nobody:klinik.test", account.NewSession{})
	wantCode(t, err, mxerr.CodeNotFound)
	_, err = w.Login(t.Context(), anna, account.NewSession{DeviceName: "nul\x00"})
	wantCode(t, err, mxerr.CodeInvalidParam)
	must(t, w.Deactivate(t.Context(), anna, true))
	_, err = w.Login(t.Context(), anna, account.NewSession{})
	wantCode(t, err, mxerr.CodeUserDeactivated)
}

func TestDeactivate(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		s := w.login(t, anna, account.NewSession{})
		must(t, w.SetAccountData(t.Context(), anna, "", "x", []byte(`{"a":1}`)))
		openID, err := w.NewOpenIDToken(t.Context(), anna)
		must(t, err)
		must(t, w.Deactivate(t.Context(), anna, true))
		_, err = w.Authenticate(t.Context(), s.AccessToken)
		wantCode(t, err, mxerr.CodeUnknownToken)
		_, err = w.OpenIDUser(t.Context(), openID)
		wantCode(t, err, mxerr.CodeUnknownToken)
		_, err = w.Profile(t.Context(), anna)
		wantCode(t, err, mxerr.CodeNotFound)
		_, err = w.AccountData(t.Context(), anna, "", "x")
		wantCode(t, err, mxerr.CodeNotFound)
		wantCode(t, w.Deactivate(t.Context(), anna, true), mxerr.CodeUserDeactivated)
		_, err = w.Register(t.Context(), account.NewAccount{Localpart: "anna", Password: "password"})
		wantCode(t, err, mxerr.CodeUserInUse) // the name is never given again
	})
}

func TestOpenID(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	token, err := w.NewOpenIDToken(t.Context(), anna)
	must(t, err)
	user, err := w.OpenIDUser(t.Context(), token)
	must(t, err)
	if user != anna {
		t.Errorf("token of %s", user)
	}
	_, err = w.Authenticate(t.Context(), token) // it is no access token
	wantCode(t, err, mxerr.CodeUnknownToken)
	w.clock.Advance(account.OpenIDLifetime)
	_, err = w.OpenIDUser(t.Context(), token)
	wantCode(t, err, mxerr.CodeUnknownToken)
}
