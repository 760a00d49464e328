package federation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
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
