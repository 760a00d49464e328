package federation_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// received collects what a stranger got in transactions.
type receivedBy struct {
	*stranger
	mu    sync.Mutex
	pdus  []string       // message bodies in order, guarded by mu
	types map[string]int // EDUs by type, guarded by mu
	txns  map[string]int // how often each transaction ID came, guarded by mu
	fail  int            // status to fail with, 0 for success, guarded by mu
}

func (s *stranger) receives() *receivedBy {
	r := &receivedBy{stranger: s, types: map[string]int{}, txns: map[string]int{}}
	s.handle("send", func(w http.ResponseWriter, req *http.Request) {
		var body struct {
			PDUs []struct {
				Type    string `json:"type"`
				Content struct {
					Body       string `json:"body"`
					Membership string `json:"membership"`
				} `json:"content"`
			} `json:"pdus"`
			EDUs []struct {
				Type string `json:"edu_type"`
			} `json:"edus"`
		}
		err := json.NewDecoder(req.Body).Decode(&body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.txns[req.URL.Path]++
		if r.fail != 0 || err != nil {
			w.WriteHeader(r.fail)
			return
		}
		for _, p := range body.PDUs {
			if p.Type == "m.room.message" {
				r.pdus = append(r.pdus, p.Content.Body)
			} else {
				r.pdus = append(r.pdus, p.Type+" "+p.Content.Membership)
			}
		}
		for _, e := range body.EDUs {
			r.types[e.Type]++
		}
		if len(body.PDUs) > 50 || len(body.EDUs) > 100 {
			s.t.Errorf("a transaction of %d PDUs and %d EDUs", len(body.PDUs), len(body.EDUs))
		}
		_, _ = w.Write([]byte(`{"pdus":{}}`))
	})
	return r
}

func (r *receivedBy) failing(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = status
}

func (r *receivedBy) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.pdus...)
}

func (r *receivedBy) edus(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.types[kind]
}

func TestMessagesReachTheServersOfTheirRoom(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	in, out := w.stranger("in").receives(), w.stranger("out").receives()
	alice := us.user("alice")
	shared, private := us.create(alice), us.create(alice)
	g := in.joins(us, shared)
	us.say(private, alice, "for nobody else")
	us.say(shared, alice, "one")
	us.say(shared, alice, "two")
	us.until("sent both", func() bool { return len(in.got()) >= 2 })
	if got := in.got(); fmt.Sprint(got) != "[one two]" {
		t.Errorf("got %v", got)
	}
	// Who is kicked hears of that, and of nothing afterwards.
	if _, err := us.rooms.Kick(ctx, room.MembershipChange{Room: shared, Sender: alice, Target: g.me}); err != nil {
		t.Fatal(err)
	}
	us.say(shared, alice, "behind the back")
	us.until("sent the kick", func() bool { return len(in.got()) >= 3 })
	if got := in.got(); fmt.Sprint(got) != "[one two m.room.member leave]" {
		t.Errorf("got %v", got)
	}
	if got := out.got(); len(got) != 0 {
		t.Errorf("a server outside the room got %v", got)
	}
}

// A join that another server makes through us is ours to tell the rest of the room.
func TestHandshakesAreRelayedToTheRoom(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	first, second := w.stranger("first").receives(), w.stranger("second").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	first.joins(us, roomID)
	second.joins(us, roomID)
	us.until("told the first", func() bool { return len(first.got()) >= 1 })
	us.say(roomID, alice, "hello")
	us.until("told both", func() bool { return len(first.got()) >= 2 && len(second.got()) >= 1 })
	if got := first.got(); fmt.Sprint(got) != "[m.room.member join hello]" {
		t.Errorf("first got %v", got)
	}
	if got := second.got(); fmt.Sprint(got) != "[hello]" {
		t.Errorf("second got %v", got)
	}
}

// What a server missed waits in the store, over a restart of ours, and comes in order; other servers notice nothing.
func TestQueuesSurviveRestarts(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	good, away := w.stranger("good").receives(), w.stranger("away").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	good.joins(us, roomID)
	g := away.joins(us, roomID)
	us.until("told of the join", func() bool { return len(good.got()) == 1 })
	away.failing(http.StatusServiceUnavailable)
	for i := range 10 {
		us.say(roomID, alice, fmt.Sprint("a", i))
	}
	us.until("reached the good one", func() bool { return len(good.got()) == 11 })
	us.restart()
	for i := range 3 {
		us.say(roomID, alice, fmt.Sprint("b", i))
	}
	us.until("reached the good one", func() bool { return len(good.got()) >= 14 })
	away.failing(0)
	// Contact from the other side wakes the queue at once.
	g.message("I am back")
	away.sends(us, "wake", g.tip.JSON)
	us.until("caught up", func() bool { return len(away.got()) >= 13 })
	want := "[a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2]"
	if got := fmt.Sprint(away.got()); got != want {
		t.Errorf("got %v", got)
	}
	us.say(roomID, alice, "live again")
	us.until("live again", func() bool { return len(away.got()) >= 14 })
	us.until("forgot the failure", func() bool {
		var failing []store.Destination
		var queued []id.ServerName
		err := us.store.Read(ctx, func(tx *store.Tx) (err error) {
			if failing, err = tx.FailingDestinations(ctx); err == nil {
				queued, err = tx.QueuedServers(ctx)
			}
			return err
		})
		return err == nil && len(failing) == 0 && len(queued) == 0
	})
	if us.fed.NextDue() != 0 {
		t.Error("still due though nothing waits")
	}
}

// A crash between sending and noting it down repeats, and loses nothing.
func TestNothingIsLostByAKill(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	other := w.stranger("other").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	other.joins(us, roomID)
	us.stop() // as if killed: from here on nothing is noted
	for i := range 120 {
		us.say(roomID, alice, fmt.Sprint(i))
	}
	us.restart()
	us.until("sent all", func() bool { return len(other.got()) >= 120 })
	seen := map[string]bool{}
	for _, body := range other.got() {
		seen[body] = true
	}
	for i := range 120 {
		if !seen[fmt.Sprint(i)] {
			t.Errorf("message %d is missing", i)
		}
	}
}

// A repeated try of the same content has the same transaction ID.
func TestRetriesKeepTheTransactionID(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	other := w.stranger("other").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	other.joins(us, roomID)
	other.failing(http.StatusBadGateway)
	us.say(roomID, alice, "again and again")
	us.until("tried thrice", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		for _, n := range other.txns {
			if n >= 3 {
				return true
			}
		}
		return false
	})
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.txns) != 1 {
		t.Errorf("transaction IDs %v", other.txns)
	}
}

// A server that was away long gets the latest event of each room, and asks for the rest.
func TestLongQueuesKeepTheLatestOfEachRoom(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	other := w.stranger("other").receives()
	alice := us.user("alice")
	one, two := us.create(alice), us.create(alice)
	g := other.joins(us, one)
	other.joins(us, two)
	other.failing(http.StatusServiceUnavailable)
	var last id.EventID
	for i := range 250 {
		last = us.say(one, alice, fmt.Sprint("one ", i))
	}
	us.say(two, alice, "two")
	us.until("dispatched", func() bool { return !us.fed.Busy() })
	other.failing(0)
	g.message("back")
	other.sends(us, "wake", g.tip.JSON)
	us.until("caught up", func() bool {
		got := other.got()
		return len(got) > 0 && contains(got, "two") && (contains(got, "one 249") || contains(got, "back"))
	})
	if n := len(other.got()); n > 150 {
		t.Errorf("%d events were sent after the outage", n)
	}
	// The gap can be fetched.
	missing, err := other.client.GetMissingEvents(ctx, us.name, one, missingFrom(g, last))
	if err != nil || len(missing) == 0 {
		t.Errorf("missing events: %d, %v", len(missing), err)
	}
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

func TestToDeviceMessagesSurviveOutages(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	other := w.stranger("other").receives()
	other.failing(http.StatusServiceUnavailable)
	send := func(txn string) {
		t.Helper()
		err := us.keys.SendToDevice(ctx, us.user("alice"), "DEV", txn, "m.room_key",
			map[id.UserID]map[id.DeviceID]json.RawMessage{other.user("bob"): {"B": json.RawMessage(`{"k":1}`)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	send("1")
	us.until("tried", func() bool { return other.requests("send") > 0 })
	us.restart()
	send("2")
	other.failing(0)
	us.until("delivered both", func() bool { return other.edus("m.direct_to_device") == 2 })
}

func TestTypingAndReceiptsAreSent(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	other := w.stranger("other").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	other.joins(us, roomID)
	if err := us.fed.Sender.Typing(ctx, roomID, alice, true); err != nil {
		t.Fatal(err)
	}
	us.until("sent typing", func() bool { return other.edus("m.typing") == 1 })
	// The same thing said again is another transaction, not a repetition of the first.
	if err := us.fed.Sender.Typing(ctx, roomID, alice, true); err != nil {
		t.Fatal(err)
	}
	us.until("sent typing again", func() bool { return other.edus("m.typing") == 2 })
}

// A31: servers that are gone keep nobody waiting.
func TestA31DeadServersDelayNobody(t *testing.T) {
	w := newWorld(t)
	us := w.server("us")
	good := w.stranger("good").receives()
	alice := us.user("alice")
	roomID := us.create(alice)
	good.joins(us, roomID)
	us.say(roomID, alice, "hello")
	us.until("sent", func() bool { return len(good.got()) == 1 })
	hole := blackHole(t)
	messages := map[id.UserID]map[id.DeviceID]json.RawMessage{}
	for i := range 500 {
		dead := id.UserID(fmt.Sprintf("@u:dead%d.localhost:%d", i, hole))
		messages[dead] = map[id.DeviceID]json.RawMessage{"D": json.RawMessage(`{}`)}
	}
	if err := us.keys.SendToDevice(ctx, alice, "DEV", "1", "m.test", messages); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	us.say(roomID, alice, "quick")
	us.until("sent", func() bool { return len(good.got()) == 2 })
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a live server waited %v for dead ones", took)
	}
}

// blackHole takes connections and says nothing.
func blackHole(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range open {
			conn.Close()
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// An event about to leave the room's graph shape alone: what is sent is what is stored, byte by byte.
func TestEventsAreSentAsStored(t *testing.T) {
	w := newWorld(t)
	us, other := w.server("us"), w.stranger("other")
	alice := us.user("alice")
	roomID := us.create(alice)
	g := other.joins(us, roomID)
	ev := us.say(roomID, alice, "ünïcode \" \\ / \u2028")
	us.until("sent", func() bool { return other.requests("send") > 0 })
	other.mu.Lock()
	defer other.mu.Unlock()
	pdus, _ := canonical.Get(other.bodies[0], "pdus")
	var sent *event.PDU
	_ = canonical.Array(pdus, func(raw []byte) error {
		parsed, err := event.Parse(raw, g.version)
		if err == nil {
			sent = parsed
		}
		return err
	})
	if sent == nil || sent.ID != ev || !sent.HashMatches() {
		t.Errorf("sent %v, want %s with its hash", sent, ev)
	}
}
