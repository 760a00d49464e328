package federation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// cpu reports the processor time since the call, per operation of which each iteration has n: on a shared machine the
// steadiest figure. It counts both sides of a connection.
func cpu(b *testing.B, n int, unit string) (report func()) {
	start := used(b)
	return func() {
		b.ReportMetric(float64((used(b)-start).Microseconds())/float64(b.N*n), unit)
	}
}

func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTransactionOf50 is receiving 50 PDUs over TLS; budget 0.6 ms of CPU per PDU, floor 0.35 (design 9).
func BenchmarkTransactionOf50(b *testing.B) {
	_, us, g, _ := party(b)
	bodies := make([][]byte, b.N)
	for i := range bodies {
		var pdus [][]byte
		for j := range 50 {
			pdus = append(pdus, g.message(fmt.Sprintf("message %d of transaction %d, as long as people write them", j, i)).JSON)
		}
		bodies[i] = transaction(g.name, pdus)
	}
	b.ResetTimer()
	defer cpu(b, 50, "cpu-µs/PDU")()
	for i, body := range bodies {
		if _, err := g.client.SendTransaction(ctx, us.name, fmt.Sprint(i), body); err != nil {
			b.Fatal(err)
		}
	}
	if !us.has(g.tip.ID) {
		b.Fatal("the last event was not stored")
	}
}

// benchmarkSend is a message to so many servers, from the send to the arrival at all; budget 1 ms for one server, 0.25 ms
// for each of ten. The servers answer by hand, so their share is small.
func benchmarkSend(b *testing.B, servers int) {
	w := newWorld(b)
	us := w.server("us")
	alice := us.user("alice")
	roomID := us.create(alice)
	var got atomic.Int64
	arrived := make(chan struct{}, 1)
	for i := range servers {
		s := w.stranger(fmt.Sprint("other", i))
		s.handle("send", func(rw http.ResponseWriter, r *http.Request) {
			var body json.RawMessage
			_ = json.NewDecoder(r.Body).Decode(&body)
			pdus, _ := canonical.Get(body, "pdus")
			_ = canonical.Array(pdus, func(pdu []byte) error {
				if kind, _ := canonical.GetString(pdu, "type"); kind == "m.room.message" {
					got.Add(1)
				}
				return nil
			})
			_, _ = rw.Write([]byte(`{"pdus":{}}`))
			select {
			case arrived <- struct{}{}:
			default:
			}
		})
		s.joins(us, roomID)
	}
	us.until("settled", func() bool { return !us.fed.Busy() })
	b.ResetTimer()
	defer cpu(b, servers, "cpu-µs/server")()
	for i := range b.N {
		us.say(roomID, alice, fmt.Sprint("message ", i))
		for got.Load() < int64((i+1)*servers) {
			<-arrived
		}
	}
}

func BenchmarkMessageTo1Server(b *testing.B)   { benchmarkSend(b, 1) }
func BenchmarkMessageTo10Servers(b *testing.B) { benchmarkSend(b, 10) }

// BenchmarkVerify is what the signatures of a joined room cost, per event.
func BenchmarkVerify(b *testing.B) {
	_, us, g, _ := party(b)
	var evs = make([]*event.PDU, 0, 128)
	for range 128 {
		evs = append(evs, g.message("x"))
	}
	b.ResetTimer()
	defer cpu(b, 128, "cpu-µs/event")()
	for range b.N {
		for _, err := range us.fed.Keys.VerifyPDUs(ctx, evs) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// resident is a stranger that has a room of so many members, of servers that all sign with its key.
func (s *stranger) resident(b testing.TB, members int) id.RoomID {
	v, _ := roomver.Get("11")
	creator := s.user("creator")
	roomID := id.RoomID("!large:" + string(s.name))
	var last *event.PDU
	depth := int64(0)
	build := func(typ, key string, sender id.UserID, content string, auth ...*event.PDU) *event.PDU {
		depth++
		t := event.Template{RoomID: roomID, Sender: sender, Type: typ, StateKey: &key, Content: []byte(content), Depth: depth, OriginServerTS: 1700000000000 + depth}
		if last != nil {
			t.PrevEvents = []id.EventID{last.ID}
		}
		for _, a := range auth {
			t.AuthEvents = append(t.AuthEvents, a.ID)
		}
		ev, err := event.Build(v, t, s.name, s.key)
		if err != nil {
			b.Fatal(err)
		}
		last = ev
		return ev
	}
	create := build(event.TypeCreate, "", creator, `{"room_version":"11"}`)
	me := build(event.TypeMember, string(creator), creator, `{"membership":"join"}`, create)
	levels := build(event.TypePowerLevels, "", creator, fmt.Sprintf(`{"users":{%q:100}}`, creator), create, me)
	rules := build(event.TypeJoinRules, "", creator, `{"join_rule":"public"}`, create, me, levels)
	chain := []*event.PDU{create, me, levels, rules}
	state := append([]*event.PDU(nil), chain...)
	for i := range members {
		user := s.user(fmt.Sprint("member", i))
		state = append(state, build(event.TypeMember, string(user), user, fmt.Sprintf(`{"membership":"join","displayname":"Member number %d","avatar_url":"mxc://%s/abcdefghijklmnopqrst"}`, i, s.name), create, levels, rules))
	}
	var answer bytes.Buffer
	list := func(evs []*event.PDU) {
		for i, ev := range evs {
			if i > 0 {
				answer.WriteByte(',')
			}
			answer.Write(ev.JSON)
		}
	}
	answer.WriteString(`{"origin":"x","state":[`)
	list(state)
	answer.WriteString(`],"auth_chain":[`)
	list(chain)
	answer.WriteString(`]}`)
	s.handle("make_join", func(w http.ResponseWriter, r *http.Request) {
		user, _ := url.PathUnescape(r.URL.EscapedPath()[strings.LastIndexByte(r.URL.EscapedPath(), '/')+1:])
		fmt.Fprintf(w, `{"room_version":"11","event":{"type":"m.room.member","room_id":%q,"sender":%q,"state_key":%q,"content":{"membership":"join"},"prev_events":[%q],"auth_events":[%q,%q,%q],"depth":%d,"origin_server_ts":1}}`,
			roomID, user, user, last.ID, create.ID, levels.ID, rules.ID, depth+1)
	})
	s.handle("send_join", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(answer.Bytes()) })
	return roomID
}

// benchmarkJoin is joining a remote room; budget 600 ms of CPU for 2,000 members, 15 s for 50,000 (design 9).
func benchmarkJoin(b *testing.B, members int) {
	w := newWorld(b)
	other := w.stranger("other")
	roomID := other.resident(b, members)
	b.ResetTimer()
	report := cpu(b, 1, "cpu-µs/join")
	for i := range b.N {
		us := w.server(fmt.Sprint("us", i))
		us.join(roomID, us.user("alice"), other.name)
		servers, err := us.rooms.JoinedServers(ctx, roomID)
		if err != nil || len(servers) != 2 {
			b.Fatalf("servers %v, %v", servers, err)
		}
	}
	report()
}

func BenchmarkJoin2000(b *testing.B)  { benchmarkJoin(b, 2_000) }
func BenchmarkJoin50000(b *testing.B) { benchmarkJoin(b, 50_000) }
