package account_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestUsernames(t *testing.T) {
	w := sqliteWorld(t, nil)
	cases := map[string]id.UserID{
		"anna": "@anna:klinik.test", "anna.berg": "@anna.berg:klinik.test", "a_-=/+.9": "@a_-=/+.9:klinik.test",
		"UPPER": "@upper:klinik.test", "q3": "@q3:klinik.test",
		"_server": "", "an na": "", "anna:x": "", "@anna": "", "é": "", "a\nb": "", "a\\b": "", "a'b": "", "a[b": "", "a|b": "", "a?b": "",
		strings.Repeat("x", 242): id.UserID("@" + strings.Repeat("x", 242) + ":klinik.test"), strings.Repeat("x", 243): "",
	}
	for name, want := range cases {
		check := w.CheckUsername(t.Context(), name)
		got, err := w.Register(t.Context(), account.NewAccount{Localpart: name, Password: "password"})
		if want == "" {
			wantCode(t, err, mxerr.CodeInvalidUsername)
			wantCode(t, check, mxerr.CodeInvalidUsername)
			continue
		}
		if err != nil || check != nil || got != want {
			t.Errorf("Register(%q) = %q, %v (checked: %v), want %q", name, got, err, check, want)
		}
		wantCode(t, w.CheckUsername(t.Context(), name), mxerr.CodeUserInUse)
	}
	drawn, err := w.Register(t.Context(), account.NewAccount{Password: "password"})
	if err != nil || drawn.Server() != server || drawn.Localpart() == "" {
		t.Errorf("a drawn name is %q, %v", drawn, err)
	}
	if _, err := w.Register(t.Context(), account.NewAccount{Localpart: "_server", Reserved: true}); err != nil {
		t.Errorf("a name of our own: %v", err)
	}
}

// Of those who want a name at the same time one gets it.
func TestOneNameOneAccount(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		const rivals = 8
		errs := make([]error, rivals)
		var wg sync.WaitGroup
		for i := range rivals {
			wg.Go(func() {
				_, errs[i] = w.Register(t.Context(), account.NewAccount{Localpart: "anna", Password: "password"})
			})
		}
		wg.Wait()
		got := 0
		for _, err := range errs {
			if err == nil {
				got++
			} else {
				wantCode(t, err, mxerr.CodeUserInUse)
			}
		}
		if got != 1 {
			t.Errorf("%d got the name", got)
		}
	})
}

func mac(secret string, parts ...string) string {
	m := hmac.New(sha1.New, []byte(secret))
	m.Write([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(m.Sum(nil))
}

func TestSharedSecret(t *testing.T) {
	w := sqliteWorld(t, nil)
	cases := []struct {
		name  string
		n     account.NewAccount
		proof func(nonce string) account.SharedSecretProof
		code  string
	}{
		{"user", account.NewAccount{Localpart: "one", Password: "password"}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, MAC: mac("secret", n, "one", "password", "notadmin")}
		}, ""},
		{"admin", account.NewAccount{Localpart: "two", Password: "password", Admin: true}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, MAC: mac("secret", n, "two", "password", "admin")}
		}, ""},
		{"user type", account.NewAccount{Localpart: "bot", Password: "password"}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, UserType: "bot", MAC: mac("secret", n, "bot", "password", "notadmin", "bot")}
		}, ""},
		{"not an admin's", account.NewAccount{Localpart: "three", Password: "password", Admin: true}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, MAC: mac("secret", n, "three", "password", "notadmin")}
		}, mxerr.CodeForbidden},
		{"wrong secret", account.NewAccount{Localpart: "four", Password: "password"}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, MAC: mac("guess", n, "four", "password", "notadmin")}
		}, mxerr.CodeForbidden},
		{"no hex", account.NewAccount{Localpart: "five", Password: "password"}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, MAC: "zz"}
		}, mxerr.CodeForbidden},
		{"foreign nonce", account.NewAccount{Localpart: "six", Password: "password"}, func(string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: "x", MAC: mac("secret", "x", "six", "password", "notadmin")}
		}, mxerr.CodeUnknown},
		{"NUL", account.NewAccount{Localpart: "seven\x00password", Password: "notadmin", Admin: true}, func(n string) account.SharedSecretProof {
			return account.SharedSecretProof{Nonce: n, MAC: mac("secret", n, "seven\x00password", "notadmin", "admin")}
		}, mxerr.CodeUnknown},
	}
	for _, c := range cases {
		nonce, err := w.SharedSecretNonce()
		must(t, err)
		user, err := w.RegisterBySecret(t.Context(), c.n, c.proof(nonce))
		if c.code != "" {
			wantCode(t, err, c.code)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		a, err := w.Account(t.Context(), user)
		if err != nil || a.Admin != c.n.Admin {
			t.Errorf("%s: account %+v, %v", c.name, a, err)
		}
		if _, err := w.RegisterBySecret(t.Context(), c.n, c.proof(nonce)); !mxerr.Is(err, mxerr.CodeUnknown) {
			t.Errorf("%s: a nonce was taken twice: %v", c.name, err)
		}
	}
	nonce, err := w.SharedSecretNonce()
	must(t, err)
	w.clock.Advance(time.Minute)
	_, err = w.RegisterBySecret(t.Context(), account.NewAccount{Localpart: "late", Password: "password"},
		account.SharedSecretProof{Nonce: nonce, MAC: mac("secret", nonce, "late", "password", "notadmin")})
	wantCode(t, err, mxerr.CodeUnknown)
}

func TestSharedSecretIsOffWithoutSecret(t *testing.T) {
	w := sqliteWorld(t, func(c *account.Config) { c.SharedSecret = "" })
	if _, err := w.SharedSecretNonce(); !mxerr.Is(err, mxerr.CodeUnknown) {
		t.Errorf("nonce: %v", err)
	}
	_, err := w.RegisterBySecret(t.Context(), account.NewAccount{Localpart: "x", Password: "password"},
		account.SharedSecretProof{MAC: mac("", "", "x", "password", "notadmin")})
	wantCode(t, err, mxerr.CodeUnknown)
}
