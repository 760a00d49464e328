package homeserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
)

const (
	klinik = id.ServerName("klinik.test")
	praxis = id.ServerName("praxis.test")
)

// rig is a host with two domains, each with one user.
type rig struct {
	t     *testing.T
	host  *homeserver.Host
	clock *clock.Fake
	token map[id.UserID]string
	dir   string
	db    string
	log   *slog.Logger

	settings homeserver.Settings
}

func newRig(t *testing.T, url string) *rig {
	t.Helper()
	return newLoggedRig(t, url, slog.New(slog.DiscardHandler))
}

func newLoggedRig(t *testing.T, url string, log *slog.Logger) *rig {
	t.Helper()
	r := &rig{t: t, log: log, clock: clock.NewFake(time.Now()), token: map[id.UserID]string{}, dir: t.TempDir(),
		settings: homeserver.Settings{CheapPasswords: true, NoRateLimits: true, AllowPrivate: true}}
	if strings.HasPrefix(url, "postgres") {
		r.db = url
	}
	r.open()
	for _, name := range []id.ServerName{klinik, praxis} {
		if err := r.host.Add(t.Context(), name, homeserver.Ordinary, true); err != nil {
			t.Fatal(err)
		}
		r.user(name, "anna")
	}
	return r
}

func (r *rig) open() {
	r.t.Helper()
	host, err := homeserver.Open(r.t.Context(), homeserver.Config{
		DataDir: r.dir, Database: r.db, Clock: r.clock, Log: r.log, Settings: r.settings,
		Network: ssclient.NetworkConfig{AllowPrivate: true},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.host = host
	r.t.Cleanup(func() { _ = host.Close() })
}

// reopen starts the host anew, with changed settings.
func (r *rig) reopen() {
	r.t.Helper()
	if err := r.host.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) user(name id.ServerName, localpart string) id.UserID {
	r.t.Helper()
	err := r.host.Use(r.t.Context(), name, func(d *homeserver.Domain) error {
		made, err := d.EnsureUser(r.t.Context(), homeserver.NewUser{Localpart: localpart})
		r.token[homeserver.UserID(localpart, name)] = made.AccessToken
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return homeserver.UserID(localpart, name)
}

// call asks through the shared port, by host name.
func (r *rig) call(host string, user id.UserID, method, path string, body any) (int, map[string]any) {
	r.t.Helper()
	var sent io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		sent = bytes.NewReader(raw)
	}
	req := httptest.NewRequest(method, path, sent)
	req.Host = host
	if token := r.token[user]; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	r.host.Handler().ServeHTTP(w, req)
	answer := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		r.t.Fatalf("%s %s: %d %q", method, path, w.Code, w.Body)
	}
	return w.Code, answer
}

func TestHostNamesPickTheDomain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		r := newRig(t, url)
		anna := homeserver.UserID("anna", klinik)
		for host, want := range map[string]int{
			"klinik.test": 200, "klinik.test:8008": 200, "KLINIK.TEST": 200,
			"praxis.test": 401, "praxis.test:8008": 401, // her token is worth nothing there
			"nobody.test": 404, "": 404, "klinik.test.evil.test": 404,
		} {
			if got, answer := r.call(host, anna, "GET", "/_matrix/client/v3/account/whoami", nil); got != want {
				t.Errorf("host %q: %d %v, want %d", host, got, answer, want)
			}
		}
	})
}

func TestUnknownDomainsLookLikeUnknownPaths(t *testing.T) {
	r := newRig(t, "sqlite:")
	_, stranger := r.call("nobody.test", "", "GET", "/_matrix/client/versions", nil)
	_, unknown := r.call("klinik.test", "", "GET", "/_matrix/client/v3/nonsense", nil)
	if fmt.Sprint(stranger) != fmt.Sprint(unknown) {
		t.Errorf("a domain we do not serve answers %v, a path we do not serve %v", stranger, unknown)
	}
}

func TestDomainsOfOneProcessFederate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		r := newRig(t, url)
		anna, other := homeserver.UserID("anna", klinik), homeserver.UserID("anna", praxis)
		code, made := r.call("klinik.test", anna, "POST", "/_matrix/client/v3/createRoom", map[string]any{"invite": []id.UserID{other}})
		if code != 200 {
			t.Fatalf("create: %d %v", code, made)
		}
		room := made["room_id"].(string)
		if code, answer := r.call("praxis.test", other, "POST", "/_matrix/client/v3/join/"+room, map[string]any{}); code != 200 {
			t.Fatalf("join: %d %v", code, answer)
		}
		code, sent := r.call("praxis.test", other, "PUT", "/_matrix/client/v3/rooms/"+room+"/send/m.room.message/1",
			map[string]any{"msgtype": "m.text", "body": "over the short wire"})
		if code != 200 {
			t.Fatalf("send: %d %v", code, sent)
		}
		r.eventually(func() bool {
			code, _ := r.call("klinik.test", anna, "GET", "/_matrix/client/v3/rooms/"+room+"/event/"+sent["event_id"].(string), nil)
			return code == 200
		})
	})
}

// eventually polls for what another goroutine does; a test that waits in vain fails with the whole test's time.
func (r *rig) eventually(done func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatal("it did not happen")
		}
	}
}

func TestIdleDomainsSleepAndWakeAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		r := newRig(t, url)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.host.Run(ctx) })
		t.Cleanup(func() { stop(); running.Wait() })
		if n := r.host.Awake(); n != 2 {
			t.Fatalf("%d domains awake", n)
		}
		r.eventually(func() bool {
			r.clock.Advance(2 * time.Minute)
			return r.host.Awake() == 0
		})
		if code, answer := r.call("klinik.test", homeserver.UserID("anna", klinik), "GET", "/_matrix/client/v3/account/whoami", nil); code != 200 {
			t.Fatalf("after waking: %d %v", code, answer)
		}
		if n := r.host.Awake(); n != 1 {
			t.Errorf("%d domains awake after one request", n)
		}
	})
}

func TestManyRequestsWakeADomainOnce(t *testing.T) {
	r := newRig(t, "sqlite:")
	if err := r.host.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	anna := homeserver.UserID("anna", klinik)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if code, answer := r.call("klinik.test", anna, "GET", "/_matrix/client/v3/account/whoami", nil); code != 200 {
				t.Errorf("%d %v", code, answer)
			}
		})
	}
	all.Wait()
	if n := r.host.Awake(); n != 1 {
		t.Errorf("%d domains awake", n)
	}
}

func TestAClosedHostRefuses(t *testing.T) {
	r := newRig(t, "sqlite:")
	if err := r.host.Close(); err != nil {
		t.Fatal(err)
	}
	err := r.host.Use(t.Context(), klinik, func(*homeserver.Domain) error { return nil })
	if !errors.Is(err, homeserver.ErrClosed) {
		t.Error(err)
	}
}

func TestADomainIsAddedOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		r := newRig(t, url)
		if err := r.host.Add(t.Context(), klinik, homeserver.Ordinary, true); !errors.Is(err, store.ErrDomainExists) {
			t.Error(err)
		}
		rows, err := r.host.Domains(t.Context(), 0, 10)
		if err != nil || len(rows) != 2 || rows[0].Name != klinik || rows[1].Number != 2 {
			t.Errorf("%+v %v", rows, err)
		}
	})
}

func TestAnUnfederatedDomainIsUnknownToOtherServers(t *testing.T) {
	r := newRig(t, "sqlite:")
	if err := r.host.Add(t.Context(), "alone.test", homeserver.Ordinary, false); err != nil {
		t.Fatal(err)
	}
	if code, _ := r.call("alone.test", "", "GET", "/_matrix/key/v2/server", nil); code != 404 {
		t.Errorf("its keys: %d", code)
	}
	if code, _ := r.call("alone.test", "", "GET", "/_matrix/client/versions", nil); code != 200 {
		t.Errorf("its clients: %d", code)
	}
	if code, _ := r.call("klinik.test", "", "GET", "/_matrix/key/v2/server", nil); code != http.StatusOK {
		t.Errorf("another's keys: %d", code)
	}
}

func TestLongPollsEndWithTheHost(t *testing.T) {
	r := newRig(t, "sqlite:")
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.host.Run(ctx) })
	anna := homeserver.UserID("anna", klinik)
	_, first := r.call("klinik.test", anna, "GET", "/_matrix/client/v3/sync", nil)
	polled := make(chan int, 1)
	running.Go(func() {
		code, _ := r.call("klinik.test", anna, "GET", fmt.Sprintf("/_matrix/client/v3/sync?timeout=600000&since=%s", first["next_batch"]), nil)
		polled <- code
	})
	r.clock.WaitTimers(2) // the host's own, and that of the poll
	stop()
	if code := <-polled; code != 200 {
		t.Errorf("the poll ended with %d", code)
	}
	running.Wait()
}
