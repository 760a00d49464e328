package account_test

import (
	"testing"

	"konsil/homeserver/account"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func TestInvitePermission(t *testing.T) {
	const allowed, ignored, blocked = account.InviteAllowed, account.InviteIgnored, account.InviteBlocked
	for _, c := range []struct {
		name, config, filter string
		from                 id.UserID
		want                 account.InviteVerdict
	}{
		{"nothing said", ``, ``, "@bob:there", allowed},
		{"all blocked", `{"default_action":"block"}`, ``, "@bob:there", blocked},
		{"another action", `{"default_action":"maybe"}`, ``, "@bob:there", allowed},
		{"no object", `[]`, `"x"`, "@bob:there", allowed},
		{"blocked user", ``, `{"blocked_users":["@bob:there"]}`, "@bob:there", blocked},
		{"another user", ``, `{"blocked_users":["@bob:there"]}`, "@bobby:there", allowed},
		{"ignored server", ``, `{"ignored_servers":["there"]}`, "@bob:there", ignored},
		{"servers by pattern", ``, `{"blocked_servers":["*.there"]}`, "@bob:a.there", blocked},
		{"users by pattern", ``, `{"blocked_users":["@b?b:*"]}`, "@bob:there", blocked},
		{"allowed before ignored and blocked", ``, `{"blocked_users":["@bob:*"],"ignored_users":["@bob:*"],"allowed_users":["@bob:there"]}`, "@bob:there", allowed},
		{"ignored before blocked", ``, `{"blocked_users":["@bob:*"],"ignored_users":["@bob:there"]}`, "@bob:there", ignored},
		{"users before servers", ``, `{"allowed_users":["@bob:there"],"blocked_servers":["*"]}`, "@bob:there", allowed},
		{"null", ``, `{"blocked_users":null,"allowed_servers":null}`, "@bob:there", allowed},
		{"what is no text", ``, `{"blocked_users":[5,{},"@bob:there"]}`, "@bob:there", blocked},
		{"switched off", ``, `{"enabled":false,"blocked_servers":["*"]}`, "@bob:there", allowed},
	} {
		if got := account.ParseInvitePermission([]byte(c.config), []byte(c.filter)).Verdict(c.from); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func FuzzInvitePermission(f *testing.F) {
	f.Add([]byte(`{"default_action":"block"}`), []byte(`{"blocked_users":["*a*a*a*b"],"allowed_servers":[null,"?"]}`), "@bob:there")
	f.Add([]byte(`null`), []byte(`{"enabled":false}`), "")
	f.Fuzz(func(t *testing.T, config, filter []byte, from string) {
		if v := account.ParseInvitePermission(config, filter).Verdict(id.UserID(from)); v < account.InviteAllowed || v > account.InviteBlocked {
			t.Fatalf("verdict %d", v)
		}
	})
}

func TestCheckInvite(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		anna := w.user(t, "anna")
		if err := w.CheckInvite(t.Context(), anna, "@bob:there.test"); err != nil {
			t.Error(err)
		}
		if err := w.SetAccountData(t.Context(), anna, "", "m.invite_permission_config", []byte(`{"default_action":"block"}`)); err != nil {
			t.Fatal(err)
		}
		if e := wantCode(t, w.CheckInvite(t.Context(), anna, "@bob:there.test"), mxerr.CodeInviteBlocked); e.Status != 403 {
			t.Errorf("status %d", e.Status)
		}
	})
}
