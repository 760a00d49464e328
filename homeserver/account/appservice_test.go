package account_test

import (
	"strings"
	"testing"

	"konsil/homeserver/account"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const bridgeFile = `
id: irc
url: http://127.0.0.1:1234/base/
as_token: as-secret
hs_token: hs-secret
sender_localpart: _irc_bot
receive_ephemeral: true
some_proposal: {nested: true}
namespaces:
  users:
    - {exclusive: true, regex: "@_irc_.*"}
    - {exclusive: false, regex: "@shared_.*"}
  aliases:
    - {exclusive: true, regex: "#_irc_.*"}
  rooms:
    - {exclusive: false, regex: "!seen:.*"}
`

func parseService(t *testing.T, file string) *account.AppService {
	t.Helper()
	s, err := account.ParseAppService([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseAppService(t *testing.T) {
	s := parseService(t, bridgeFile)
	if s.ID != "irc" || s.URL != "http://127.0.0.1:1234/base" || s.HSToken != "hs-secret" || !s.Ephemeral || s.Limited {
		t.Errorf("read %+v", s)
	}
	if s.Sender(server) != "@_irc_bot:klinik.test" {
		t.Errorf("sender %s", s.Sender(server))
	}
	if parseService(t, strings.Replace(bridgeFile, "http://127.0.0.1:1234/base/", "null", 1)).URL != "" {
		t.Error("a service that wants no transactions has a URL")
	}
	for _, c := range []struct{ name, old, new string }{
		{"no id", "id: irc", ""},
		{"no as_token", "as_token: as-secret", ""},
		{"no hs_token", "hs_token: hs-secret", ""},
		{"one token for both", "hs-secret", "as-secret"},
		{"no sender", "sender_localpart: _irc_bot", ""},
		{"sender that is no localpart", "_irc_bot", "Irc Bot"},
		{"url of another kind", "http://127.0.0.1", "unix:///run"},
		{"broken expression", "@_irc_.*", "@_irc_("},
		{"no YAML", "namespaces:", "\tnamespaces"},
	} {
		if _, err := account.ParseAppService([]byte(strings.Replace(bridgeFile, c.old, c.new, 1))); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
}

func TestAppServiceCovers(t *testing.T) {
	s := parseService(t, bridgeFile)
	for user, want := range map[id.UserID]bool{
		"@_irc_bot:klinik.test": true, "@_irc_anna:klinik.test": true, "@shared_x:klinik.test": true,
		"@anna:klinik.test": false, "@x@_irc_anna:klinik.test": false,
		"@_irc_anna:praxis.test": false, // namespaces are of local users. AS v1.16 #registration
	} {
		if got := s.Covers(user, server); got != want {
			t.Errorf("%s: %v", user, got)
		}
	}
	if !s.CoversAlias("#_irc_go:klinik.test") || s.CoversAlias("#go:klinik.test") || !s.CoversRoom("!seen:x") || s.CoversRoom("!other:x") {
		t.Error("aliases or rooms")
	}
}

func TestCheckAppServices(t *testing.T) {
	a, b := parseService(t, bridgeFile), parseService(t, strings.NewReplacer("id: irc", "id: xmpp", "as-secret", "other").Replace(bridgeFile))
	if err := account.CheckAppServices([]*account.AppService{a, b}); err != nil {
		t.Error(err)
	}
	sameID := parseService(t, strings.Replace(bridgeFile, "as-secret", "other", 1))
	sameToken := parseService(t, strings.Replace(bridgeFile, "id: irc", "id: xmpp", 1))
	for _, twin := range []*account.AppService{sameID, sameToken} {
		if account.CheckAppServices([]*account.AppService{a, twin}) == nil {
			t.Error("two services that can not be told apart are accepted")
		}
	}
}

// A domain's own user of a service is there after a start, and after the next.
func TestEnsureAppServices(t *testing.T) {
	s := parseService(t, bridgeFile)
	eachWorld(t, func(c *account.Config) { c.AppServices = []*account.AppService{s} }, func(t *testing.T, w world) {
		for range 2 {
			if err := w.EnsureAppServices(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Account(t.Context(), s.Sender(server)); err != nil {
			t.Error(err)
		}
		if w.AppServiceOf("as-secret") != s || w.AppServiceOf("hs-secret") != nil || w.AppServiceOf("") != nil {
			t.Error("token of the service")
		}
		wantCode(t, w.CheckAlias("#_irc_go:klinik.test", nil), mxerr.CodeExclusive)
		wantCode(t, w.CheckAlias("#go:klinik.test", s), mxerr.CodeExclusive)
		if err := w.CheckAlias("#_irc_go:klinik.test", s); err != nil {
			t.Error(err)
		}
	})
}
