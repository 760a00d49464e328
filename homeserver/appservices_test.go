package homeserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"konsil/homeserver"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
)

func registrationFile(name string) string {
	return strings.ReplaceAll(`{id: NAME, url: null, as_token: as-NAME, hs_token: hs-NAME, sender_localpart: NAME-bot, namespaces: {}}`, "NAME", name)
}

func writeFile(t *testing.T, text string, parts ...string) {
	t.Helper()
	file := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAppServicesAreRegisteredByFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, registrationFile("both"), dir, "both.yaml")
	writeFile(t, registrationFile("one"), dir, string(klinik), "one.yaml")
	writeFile(t, "no registration", dir, "notes.txt")
	r := newRig(t, dbtest.SQLite(t))
	r.settings.AppServiceDir = dir
	r.reopen()
	for _, c := range []struct {
		domain id.ServerName
		token  string
		status int
		user   any
	}{
		{klinik, "as-both", 200, "@both-bot:klinik.test"},
		{praxis, "as-both", 200, "@both-bot:praxis.test"},
		{klinik, "as-one", 200, "@one-bot:klinik.test"},
		{praxis, "as-one", 401, nil}, // it is another organisation's
		{klinik, "hs-both", 401, nil},
	} {
		r.token["as"] = c.token
		if status, who := r.call(string(c.domain), "as", "GET", "/_matrix/client/v3/account/whoami", nil); status != c.status || who["user_id"] != c.user {
			t.Errorf("%s at %s: %d %v", c.token, c.domain, status, who)
		}
	}
}

func TestWrongRegistrationsKeepTheHostFromStarting(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"broken":           {"a.yaml": "{id: x}"},
		"twins":            {"a.yaml": registrationFile("x"), "b.yaml": registrationFile("x")},
		"twin in a domain": {"a.yaml": registrationFile("x"), "klinik.test/b.yaml": registrationFile("x")},
	} {
		dir := t.TempDir()
		for file, text := range files {
			writeFile(t, text, dir, file)
		}
		host, err := homeserver.Open(t.Context(), homeserver.Config{DataDir: t.TempDir(), Settings: homeserver.Settings{AppServiceDir: dir}})
		if err == nil {
			_ = host.Close()
			t.Errorf("%s: the host starts", name)
		}
	}
	if _, err := homeserver.Open(t.Context(), homeserver.Config{DataDir: t.TempDir(), Settings: homeserver.Settings{AppServiceDir: "/nowhere"}}); err == nil {
		t.Error("a folder that is not there: the host starts")
	}
}
