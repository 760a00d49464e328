package scenario_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"konsil/test/harness"
)

// The contract of `konsil up` (design, section 2): what scripts may rely on.

// TestUpContract checks up.json field by field, and that what it says is true.
func TestUpContract(t *testing.T) {
	t.Parallel()
	up := harness.StartUp(t)

	info, err := os.Stat(up.StateFile())
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("up.json has mode %o: it holds passwords and is its owner's alone", mode)
	}
	raw, err := os.ReadFile(up.StateFile())
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Domains []struct {
			Users []map[string]any `json:"users"`
		} `json:"domains"`
	}
	var top map[string]any
	if err := errors.Join(json.Unmarshal(raw, &top), json.Unmarshal(raw, &file)); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, "up.json", top, []string{"pid", "ready", "domains", "ca_certificate"}, "vzd", "idp", "registration", "cards")
	for i, d := range top["domains"].([]any) {
		wantKeys(t, "a domain", d.(map[string]any), []string{"name", "flavour", "federated", "web", "client_api", "federation_api", "users"})
		for _, u := range file.Domains[i].Users {
			wantKeys(t, "a user", u, []string{"id", "password", "access_token", "display_name", "role"})
		}
	}

	flavours := map[string]string{}
	federated := map[string]bool{}
	for _, d := range up.State.Domains {
		flavours[d.Name], federated[d.Name] = d.Flavour, d.Federated
	}
	if want := map[string]string{"klinik.localhost": "pro", "praxis.localhost": "pro", "kasse.localhost": "epa", "fremd.localhost": "open"}; !maps.Equal(flavours, want) {
		t.Errorf("domains are %v, want %v", flavours, want)
	}
	if want := map[string]bool{"klinik.localhost": true, "praxis.localhost": true, "kasse.localhost": true, "fremd.localhost": false}; !maps.Equal(federated, want) {
		t.Errorf("on the federation list: %v, want %v", federated, want)
	}
	for _, d := range up.State.Domains {
		t.Run(d.Name, func(t *testing.T) { checkDomain(t, up, d) })
	}
}

// wantKeys checks the names of an object's fields. Those of houses to come may be there.
func wantKeys(t *testing.T, what string, object map[string]any, want []string, may ...string) {
	t.Helper()
	for _, key := range want {
		if _, ok := object[key]; !ok {
			t.Errorf("%s has no %q", what, key)
		}
	}
	for key := range object {
		if !slices.Contains(want, key) && !slices.Contains(may, key) {
			t.Errorf("%s has %q, which is not in the contract", what, key)
		}
	}
}

// checkDomain uses each address and each secret of a domain.
func checkDomain(t *testing.T, up *harness.Up, d harness.Domain) {
	if len(d.Users) < 2 {
		t.Errorf("%d users, want two at least", len(d.Users))
	}
	for _, u := range d.Users {
		c := harness.NewClient(d.ClientAPI, u.ID, u.AccessToken)
		if who, err := c.WhoAmI(t.Context()); err != nil || who != u.ID {
			t.Errorf("the access token of %s is that of %q, %v", u.ID, who, err)
		}
		if err := c.Login(t.Context(), u.ID, u.Password); err != nil {
			t.Errorf("the password of %s: %v", u.ID, err)
		}
		if who, err := c.WhoAmI(t.Context()); err != nil || who != u.ID {
			t.Errorf("logged in as %s one is %q, %v", u.ID, who, err)
		}
		var profile struct {
			Name string `json:"displayname"`
		}
		if err := c.Call(t.Context(), "GET", "/_matrix/client/v3/profile/"+u.ID, nil, &profile); err != nil || profile.Name != u.DisplayName {
			t.Errorf("%s is called %q, %v; up.json says %q", u.ID, profile.Name, err, u.DisplayName)
		}
	}
	if web, err := url.Parse(d.Web); err != nil || web.Hostname() != d.Name || web.Scheme != "http" {
		t.Errorf("web is %q", d.Web)
	}
	if status, _ := get(t, onLoopback(t), d.Web+"/_matrix/client/versions"); status != http.StatusOK {
		t.Errorf("%s answers %d", d.Web, status)
	}
	if name := signingServer(t, federationClient(t, up, d.Name), d.FederationAPI); name != d.Name {
		t.Errorf("%s signs as %q", d.FederationAPI, name)
	}
}

// federationClient trusts the development CA alone and insists on a certificate for the name.
func federationClient(t *testing.T, up *harness.Up, name string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(up.State.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", up.State.CA)
	}
	return client(t, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}})
}

func client(t *testing.T, transport *http.Transport) *http.Client {
	t.Helper()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// get fetches a page with more headers, name and value in turn. Host is one of them.
func get(t *testing.T, c *http.Client, address string, headers ...string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// signingServer asks who signs at an address.
func signingServer(t *testing.T, c *http.Client, address string, headers ...string) string {
	t.Helper()
	status, body := get(t, c, address+"/_matrix/key/v2/server", headers...)
	var keys struct {
		Server string `json:"server_name"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &keys) != nil {
		return fmt.Sprintf("%d %s", status, body)
	}
	return keys.Server
}

// TestUpRefusesASecondOne starts a second program on a folder in use.
func TestUpRefusesASecondOne(t *testing.T) {
	t.Parallel()
	up := harness.StartUp(t)
	before, err := os.ReadFile(up.StateFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--fresh"}} {
		second := harness.RunUp(t, up.Dir, args...)
		if exit := second.Wait(t); exit.Code != 1 {
			t.Errorf("a second konsil up %v ended with code %d, want 1", args, exit.Code)
		}
		if out := second.Output(); !strings.Contains(out, "another konsil uses "+up.Dir) || strings.Count(out, "\n") != 1 {
			t.Errorf("a second konsil up %v says no clear sentence:\n%s", args, out)
		}
	}
	after, err := os.ReadFile(up.StateFile())
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the second one touched up.json of the first: %v", err)
	}
	anna := up.Client(t, "@anna.berg:klinik.localhost")
	if _, err := anna.WhoAmI(t.Context()); err != nil {
		t.Errorf("the first one no longer answers: %v", err)
	}
}

// TestUpFreshEmpties starts with --fresh on a folder with data.
func TestUpFreshEmpties(t *testing.T) {
	t.Parallel()
	up := harness.StartUp(t)
	anna := up.Client(t, "@anna.berg:klinik.localhost")
	before := up.Account(t, anna.User)
	if _, err := anna.CreateRoom(t.Context(), map[string]any{"name": "old"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(up.Dir, "left-behind"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	up.Terminate(t)

	again := harness.StartUpIn(t, up.Dir, "--fresh")
	if _, err := os.Stat(filepath.Join(up.Dir, "left-behind")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("--fresh left a file: %v", err)
	}
	old := harness.NewClient(again.Domain(t, "klinik.localhost").ClientAPI, anna.User, before.AccessToken)
	if _, err := old.WhoAmI(t.Context()); !refusedWith(err, http.StatusUnauthorized) {
		t.Errorf("the old token: %v", err)
	}
	if again.Account(t, anna.User).Password == before.Password {
		t.Error("the password is the old one")
	}
	var rooms struct {
		Joined []string `json:"joined_rooms"`
	}
	if err := again.Client(t, anna.User).Call(t.Context(), "GET", "/_matrix/client/v3/joined_rooms", nil, &rooms); err != nil || len(rooms.Joined) != 0 {
		t.Errorf("rooms after --fresh: %v, %v", rooms.Joined, err)
	}
}

func refusedWith(err error, status int) bool {
	r, ok := harness.AsRefusal(err)
	return ok && r.Status == status
}

// TestUpFreshSparesOtherFolders mistypes --data.
func TestUpFreshSparesOtherFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	letter := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := harness.RunUp(t, dir, "--fresh")
	if exit := p.Wait(t); exit.Code != 1 || !strings.Contains(p.Output(), "not emptied") {
		t.Errorf("ended with code %d and said:\n%s", exit.Code, p.Output())
	}
	if _, err := os.Stat(letter); err != nil {
		t.Errorf("--fresh emptied a folder that is none of ours: %v", err)
	}
}

// TestUpStartsQuickly measures a start on a folder with data. The budget is a second; a busy machine gets five.
func TestUpStartsQuickly(t *testing.T) {
	t.Parallel()
	const budget, limit = time.Second, 5 * time.Second
	up := harness.StartUp(t)
	first := up.Readiness
	anna := up.Client(t, "@anna.berg:klinik.localhost")
	if _, err := anna.CreateRoom(t.Context(), map[string]any{"invite": []string{"@clara.ernst:praxis.localhost"}}); err != nil {
		t.Fatal(err)
	}
	up.Terminate(t)
	up.Restart(t)
	t.Logf("ready after %d ms, on an empty folder after %d ms", up.Readiness.Milliseconds(), first.Milliseconds())
	switch {
	case up.Readiness > limit:
		t.Errorf("ready after %s", up.Readiness)
	case up.Readiness > budget:
		t.Logf("over the budget of %s: is the machine busy?", budget)
	}
	if _, err := up.Client(t, anna.User).WhoAmI(t.Context()); err != nil {
		t.Errorf("up.json said ready, and then: %v", err)
	}
}

// TestUpStopsOnTerm stops while people wait in /sync and others send. Long polls are cut, sends are answered or not taken.
func TestUpStopsOnTerm(t *testing.T) {
	t.Parallel()
	const limit = 5 * time.Second
	up := harness.StartUp(t)
	anna := up.Client(t, "@anna.berg:klinik.localhost")
	room, err := anna.CreateRoom(t.Context(), map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	waiting := harness.NewPerson(up.Client(t, "@boris.dahl:klinik.localhost"))
	if err := waiting.Sync(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	polled := make(chan error, 1)
	go func() { polled <- waiting.Sync(t.Context(), 20*time.Second) }() // ends when the server does
	stream := startStream(t, anna, room, "before the end", 2)
	stream.acknowledged(t, 20)

	exit := up.Terminate(t)
	if exit.Code != 0 {
		t.Errorf("stopped with code %d", exit.Code)
	}
	t.Logf("stopped after %d ms", exit.Took.Milliseconds())
	if exit.Took > limit {
		t.Errorf("stopped after %s", exit.Took)
	}
	<-polled
	sent := stream.end()
	if _, err := os.Stat(up.StateFile()); err == nil {
		t.Log("up.json is still there; its pid is not")
	}
	up.Restart(t)
	sent.check(t, up.Client(t, anna.User), room)
}
