package federation_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/federation"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/ssapi"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/devca"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

var ctx = context.Background()

// world is the servers of a test: each with a store, an engine and a TLS port of its own, on names below localhost.
type world struct {
	t     testing.TB
	ca    *devca.Authority
	clock clock.Clock
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := devca.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, ca: ca, clock: clock.System()}
}

// domain is one of our servers.
type domain struct {
	w      *world
	t      testing.TB
	name   id.ServerName
	key    sign.Key
	url    string
	store  *store.DB
	woken  *notify.Notifier
	rooms  *room.Engine
	keys   *e2ee.Keeper
	eph    *ephemeral.Keeper
	fed    *federation.Federation
	client *ssclient.Client
	api    atomic.Pointer[http.Handler]

	stop func() // ends Run; nil when it does not run
	cfg  func(*federation.Config)

	mu   sync.Mutex
	seen map[string]int // requests by first path segments, guarded by mu
}

// server is a domain that listens and runs.
func (w *world) server(name string, change ...func(*federation.Config)) *domain {
	w.t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &domain{w: w, t: w.t, key: key, url: "sqlite:" + filepath.Join(w.t.TempDir(), "domain.db"), seen: map[string]int{}}
	if len(change) > 0 {
		d.cfg = change[0]
	}
	d.name = w.listen(name, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		d.seen[kindOf(r.URL.Path)]++
		d.mu.Unlock()
		if api := d.api.Load(); api != nil {
			(*api).ServeHTTP(rw, r)
		}
	}))
	d.open()
	d.run()
	w.t.Cleanup(d.close)
	return d
}

// kindOf is "send", "make_join", … or "key".
func kindOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/_matrix/"), "/")
	if len(parts) > 2 && parts[0] == "federation" {
		return parts[2]
	}
	return parts[0]
}

func (d *domain) requests(kind string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[kind]
}

// listen serves TLS on a port of loopback and gives the server name.
func (w *world) listen(name string, handler http.Handler) id.ServerName {
	w.t.Helper()
	host := name + ".localhost"
	cert, err := w.ca.Issue(time.Now(), host)
	if err != nil {
		w.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	w.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return id.ServerName(net.JoinHostPort(host, strconv.Itoa(s.Listener.Addr().(*net.TCPAddr).Port)))
}

func (w *world) network() *ssclient.Network {
	n := ssclient.NewNetwork(ssclient.NetworkConfig{Roots: w.ca.Pool(), AllowPrivate: true, Clock: w.clock, ConnectTimeout: 5 * time.Second})
	w.t.Cleanup(n.Close)
	return n
}

// open wires the domain around its store.
func (d *domain) open() {
	d.t.Helper()
	db, err := store.Open(ctx, store.Config{URL: d.url, Domain: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	d.store, d.woken = db, notify.New()
	d.client = ssclient.New(ssclient.Config{Server: d.name, Key: d.key, Network: d.w.network()})
	log := slog.New(slog.NewTextHandler(testWriter{d.t}, nil)).With("server", d.name.Host())
	accounts := account.New(account.Config{Server: d.name, Store: db, Notify: d.woken, Clock: d.w.clock})
	d.rooms = room.New(room.Config{Store: db, Notify: d.woken, Clock: d.w.clock, Server: d.name, Key: d.key})
	d.keys = e2ee.New(e2ee.Config{Server: d.name, Store: db, Notify: d.woken, Remote: d.client, Clock: d.w.clock})
	d.eph = ephemeral.New(ephemeral.Config{Server: d.name, Store: db, Notify: d.woken, Rooms: d.rooms, Accounts: accounts, Clock: d.w.clock, Presence: true})
	cfg := federation.Config{Server: d.name, Key: d.key, Client: d.client, Store: db, Rooms: d.rooms, Notify: d.woken,
		Clock: d.w.clock, Log: log, Devices: d.keys, Ephemeral: d.eph}
	if d.cfg != nil {
		d.cfg(&cfg)
	}
	d.fed = federation.New(cfg)
	var api http.Handler = ssapi.New(ssapi.Config{Server: d.name, Federation: d.fed, Rooms: d.rooms, Accounts: accounts, Devices: d.keys, Log: log})
	d.api.Store(&api)
}

func (d *domain) run() {
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.fed.Run(running) }()
	d.stop = func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("%s: run: %v", d.name, err)
		}
		d.stop = nil
	}
}

func (d *domain) close() {
	if d.stop != nil {
		d.stop()
	}
	_ = d.store.Close()
}

// restart loses all that is in memory.
func (d *domain) restart() {
	d.t.Helper()
	d.close()
	d.open()
	d.run()
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (d *domain) user(name string) id.UserID { return id.UserID("@" + name + ":" + string(d.name)) }

// create makes a public room.
func (d *domain) create(creator id.UserID, change ...func(*room.CreateRequest)) id.RoomID {
	d.t.Helper()
	req := room.CreateRequest{Creator: creator, Preset: "public_chat"}
	for _, c := range change {
		c(&req)
	}
	created, err := d.rooms.Create(ctx, req)
	if err != nil {
		d.t.Fatal(err)
	}
	return created.Room
}

func (d *domain) say(roomID id.RoomID, user id.UserID, text string) id.EventID {
	d.t.Helper()
	content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
	ev, err := d.rooms.Send(ctx, room.Draft{Room: roomID, Sender: user, Type: "m.room.message", Content: content})
	if err != nil {
		d.t.Fatal(err)
	}
	return ev
}

func (d *domain) join(roomID id.RoomID, user id.UserID, via ...id.ServerName) {
	d.t.Helper()
	if err := d.fed.Join(ctx, federation.JoinRequest{User: user, Room: roomID, Via: via}); err != nil {
		d.t.Fatalf("%s joins: %v", user.Server(), err)
	}
}

// until waits for a condition that something wakes us for; it fails after a generous time.
func (d *domain) until(what string, holds func() bool) {
	d.t.Helper()
	deadline := time.After(20 * time.Second)
	wake := d.woken.Follow("test "+what, 0)
	tick := time.NewTicker(20 * time.Millisecond) // for what wakes nobody
	defer tick.Stop()
	for !holds() {
		select {
		case <-wake:
		case <-tick.C:
		case <-deadline:
			d.t.Fatalf("%s: never %s", d.name, what)
		}
	}
}

func (d *domain) has(ev id.EventID) bool {
	got, err := d.rooms.Event(ctx, ev)
	return err == nil && got.InTimeline()
}

func (d *domain) gets(ev id.EventID) {
	d.t.Helper()
	d.until("got the event", func() bool { return d.has(ev) })
}

// stranger is a server made of a key and a handler, that can send whatever it likes.
type stranger struct {
	w      *world
	t      testing.TB
	name   id.ServerName
	key    sign.Key
	client *ssclient.Client
	http   *http.Client

	mu       sync.Mutex
	handlers map[string]http.HandlerFunc // by kindOf, guarded by mu
	seen     map[string]int              // guarded by mu
	bodies   [][]byte                    // of transactions, guarded by mu
}

func (w *world) stranger(name string) *stranger {
	w.t.Helper()
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &stranger{w: w, t: w.t, key: key, handlers: map[string]http.HandlerFunc{}, seen: map[string]int{}}
	s.name = w.listen(name, http.HandlerFunc(s.serve))
	s.client = ssclient.New(ssclient.Config{Server: s.name, Key: key, Network: w.network()})
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool()},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
		}}}
	w.t.Cleanup(s.http.CloseIdleConnections)
	s.handle("key", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = rw.Write(s.document(s.name, time.Now().Add(24*time.Hour)))
	})
	return s
}

func (s *stranger) document(name id.ServerName, until time.Time) []byte {
	doc, err := sign.BuildServerKeys(name, []sign.Key{s.key}, nil, until)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	return doc.JSON
}

func (s *stranger) handle(kind string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[kind] = h
}

func (s *stranger) serve(w http.ResponseWriter, r *http.Request) {
	kind := kindOf(r.URL.Path)
	s.mu.Lock()
	s.seen[kind]++
	h := s.handlers[kind]
	s.mu.Unlock()
	switch {
	case h != nil:
		h(w, r)
	case kind == "send":
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.bodies = append(s.bodies, body)
		s.mu.Unlock()
		_, _ = w.Write([]byte(`{"pdus":{}}`))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errcode":"M_UNRECOGNIZED","error":"?"}`))
	}
}

func (s *stranger) requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[kind]
}

func (s *stranger) user(name string) id.UserID { return id.UserID("@" + name + ":" + string(s.name)) }

// guest is a stranger that has joined a room of ours by the handshake, and builds events in it by hand.
type guest struct {
	*stranger
	room    id.RoomID
	version *roomver.Version
	me      id.UserID
	state   map[id.Slot]*event.PDU
	tip     *event.PDU

	elsewhere id.EventID // an event of another room
}

// joins lets the stranger's user into a room of d.
func (s *stranger) joins(d *domain, roomID id.RoomID) *guest {
	s.t.Helper()
	me := s.user("guest")
	template, err := s.client.MakeJoin(ctx, d.name, roomID, me, roomver.Names())
	if err != nil {
		s.t.Fatal(err)
	}
	v, _ := roomver.Get(template.Version)
	g := &guest{stranger: s, room: roomID, version: v, me: me, state: map[id.Slot]*event.PDU{}}
	proposed, err := event.ParseTemplate(template.Event, v)
	if err != nil {
		s.t.Fatal(err)
	}
	proposed.OriginServerTS = time.Now().UnixMilli()
	join, err := event.Build(v, proposed, s.name, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.SendJoin(ctx, d.name, roomID, join.ID, join.JSON, 0, g); err != nil {
		s.t.Fatal(err)
	}
	g.state[join.Slot()] = join
	g.tip = join
	return g
}

func (g *guest) State(raw []byte) error {
	ev, err := event.Parse(raw, g.version)
	if err == nil {
		g.state[ev.Slot()] = ev
	}
	return err
}
func (g *guest) AuthChain([]byte) error { return nil }

// draft is a message of the guest after what it sent last.
func (g *guest) draft(text string) event.Template {
	content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
	var auth []id.EventID
	for _, slot := range []id.Slot{{Type: event.TypeCreate}, {Type: event.TypePowerLevels}, {Type: event.TypeMember, StateKey: string(g.me)}} {
		if slot.Type == event.TypeCreate && g.version.HashedRoomID {
			continue
		}
		if ev := g.state[slot]; ev != nil {
			auth = append(auth, ev.ID)
		}
	}
	return event.Template{RoomID: g.room, Sender: g.me, Type: "m.room.message", Content: content,
		PrevEvents: []id.EventID{g.tip.ID}, AuthEvents: auth, Depth: g.tip.Depth + 1, OriginServerTS: time.Now().UnixMilli()}
}

func (g *guest) build(t event.Template) *event.PDU {
	g.t.Helper()
	ev, err := event.Build(g.version, t, g.name, g.key)
	if err != nil {
		g.t.Fatal(err)
	}
	return ev
}

// message builds a message and moves on.
func (g *guest) message(text string) *event.PDU {
	g.t.Helper()
	g.tip = g.build(g.draft(text))
	return g.tip
}

// transaction writes a transaction of raw PDUs.
func transaction(origin id.ServerName, pdus [][]byte, edus ...string) []byte {
	out := []byte(`{"origin":"` + string(origin) + `","origin_server_ts":1,"pdus":[`)
	for i, p := range pdus {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, p...)
	}
	return append(out, `],"edus":[`+strings.Join(edus, ",")+`]}`...)
}

func (s *stranger) sends(d *domain, txnID string, pdus ...[]byte) ssclient.TransactionResult {
	s.t.Helper()
	result, err := s.client.SendTransaction(ctx, d.name, txnID, transaction(s.name, pdus))
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

func answered(err error) *ssclient.Error {
	var e *ssclient.Error
	errors.As(err, &e)
	return e
}

// missingFrom asks for what lies between what the guest has and an event.
func missingFrom(g *guest, latest id.EventID) ssclient.MissingEvents {
	return ssclient.MissingEvents{Limit: 20, Earliest: []id.EventID{g.tip.ID}, Latest: []id.EventID{latest}}
}

func joinOf(user id.UserID, roomID id.RoomID, via ...id.ServerName) federation.JoinRequest {
	return federation.JoinRequest{User: user, Room: roomID, Via: via}
}

// buildIn builds an event of any room.
func (s *stranger) buildIn(version string, tmpl event.Template) *event.PDU {
	s.t.Helper()
	v, ok := roomver.Get(version)
	if !ok {
		s.t.Fatalf("no version %s", version)
	}
	ev, err := event.Build(v, tmpl, s.name, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return ev
}
