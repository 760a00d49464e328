package e2ee_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/db/dbtest"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

const here, there = id.ServerName("here.test"), id.ServerName("there.test")

// world is a domain's key directory with accounts and rooms on a real store. Other servers are handlers.
type world struct {
	*e2ee.Keeper
	t        testing.TB
	url      string
	key      sign.Key
	accounts *account.Keeper
	rooms    *room.Engine
	clock    *clock.Fake
	remote   map[id.ServerName]http.Handler
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	key, err := sign.NewKey(rand.Reader)
	must(t, err)
	w := &world{t: t, url: url, key: key, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), remote: map[id.ServerName]http.Handler{}}
	w.open()
	t.Cleanup(func() { _ = w.Store.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	db, err := store.Open(context.Background(), store.Config{URL: w.url, Domain: 1})
	must(w.t, err)
	woken := notify.New()
	network := ssclient.NewNetwork(ssclient.NetworkConfig{Clock: w.clock, ConnectTimeout: 100 * time.Millisecond,
		Local: func(server id.ServerName) http.Handler { return w.remote[server] }})
	w.t.Cleanup(network.Close)
	w.Keeper = e2ee.New(e2ee.Config{Server: here, Store: db, Notify: woken, Clock: w.clock,
		Remote: ssclient.New(ssclient.Config{Server: here, Key: w.key, Network: network})})
	w.accounts = account.New(account.Config{Server: here, Store: db, Notify: woken, Clock: w.clock,
		Hasher: account.NewHasher(account.CheapCost), Registration: account.Open, DevicesChanged: w.DevicesChanged})
	w.rooms = room.New(room.Config{Store: db, Notify: woken, Clock: w.clock, Server: here, Key: w.key})
}

// restart forgets all that is in memory.
func (w *world) restart() {
	w.t.Helper()
	must(w.t, w.Store.Close())
	w.open()
}

// eachWorld runs a test on each engine.
func eachWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, url string) { fn(t, newWorld(t, url)) })
}

// client is a device with real keys.
type client struct {
	w      *world
	User   id.UserID
	Device id.DeviceID
	key    sign.Key
}

// user makes an account with a device of the given name.
func (w *world) user(name string, device id.DeviceID) *client {
	w.t.Helper()
	user, err := w.accounts.Register(w.t.Context(), account.NewAccount{Localpart: name, Password: "password"})
	must(w.t, err)
	return w.login(user, device)
}

func (w *world) login(user id.UserID, device id.DeviceID) *client {
	w.t.Helper()
	_, err := w.accounts.Login(w.t.Context(), user, account.NewSession{Device: device, DeviceName: "Handy von " + string(device)})
	must(w.t, err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(w.t, err)
	return &client{w, user, device, sign.Key{ID: id.KeyID("ed25519:" + string(device)), Private: private}}
}

// deviceKeys are the client's identity keys, signed.
func (c *client) deviceKeys() json.RawMessage {
	c.w.t.Helper()
	keys, err := sign.JSON([]byte(fmt.Sprintf(`{"user_id":%q,"device_id":%q,"algorithms":["m.olm.v1.curve25519-aes-sha2"],
		"keys":{"ed25519:%s":%q,"curve25519:%s":"abc"}}`, c.User, c.Device, c.Device, sign.EncodeBase64(c.key.Public()), c.Device)), string(c.User), c.key)
	must(c.w.t, err)
	return keys
}

// upload publishes identity keys and n one-time keys that start with this number.
func (c *client) upload(first, n int) map[string]int64 {
	c.w.t.Helper()
	counts, err := c.w.Upload(c.w.t.Context(), c.User, c.Device, e2ee.Upload{DeviceKeys: c.deviceKeys(), OneTimeKeys: oneTimeKeys(first, n)})
	must(c.w.t, err)
	return counts
}

func oneTimeKeys(first, n int) json.RawMessage {
	b := []byte{'{'}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"signed_curve25519:K%03d":{"key":"%064d","signatures":{"@x:y":{"ed25519:Z":"%086d"}}}`, first+i, first+i, first+i)
	}
	return append(b, '}')
}

// query asks for all devices of users and gives the answer as a tree.
func (w *world) query(asker id.UserID, users ...id.UserID) map[string]any {
	w.t.Helper()
	wanted := e2ee.Wanted{}
	for _, user := range users {
		wanted[user] = nil
	}
	return w.tree(w.Query(w.t.Context(), asker, wanted, time.Second))
}

func (w *world) claim(user id.UserID, device id.DeviceID) map[string]any {
	w.t.Helper()
	return w.tree(w.Claim(w.t.Context(), e2ee.ClaimWanted{user: {device: "signed_curve25519"}}, time.Second))
}

// keyID is the name of the only key in an answer to a claim, "" for none.
func (w *world) claimedKey(user id.UserID, device id.DeviceID) string {
	w.t.Helper()
	for name := range at(w.claim(user, device), "one_time_keys", string(user), string(device)) {
		return name
	}
	return ""
}

func (w *world) tree(raw []byte, err error) map[string]any {
	w.t.Helper()
	must(w.t, err)
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		w.t.Fatalf("%v: %s", err, raw)
	}
	return tree
}

// at walks into a tree; nil where there is nothing.
func at(tree map[string]any, path ...string) map[string]any {
	for _, key := range path {
		tree, _ = tree[key].(map[string]any)
	}
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if e, ok := mxerr.As(err); !ok || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}
