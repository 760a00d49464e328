package room_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"konsil/homeserver/room"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

func BenchmarkSend(b *testing.B) {
	for _, senders := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(senders, "-senders"), func(b *testing.B) {
			s := newServer(b, "klinik.test")
			anna := s.user("anna")
			r := s.create(anna)
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range senders {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for n := i; n < b.N; n += senders {
						s.say(r, anna, "good morning, the findings are in")
					}
				}()
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func BenchmarkCreate(b *testing.B) {
	s := newServer(b, "klinik.test")
	anna := s.user("anna")
	for range b.N {
		s.create(anna)
	}
}

func BenchmarkJoin(b *testing.B) {
	s := newServer(b, "klinik.test")
	r := bigRoom(b, s, 5000)
	b.ResetTimer()
	for i := range b.N {
		s.join(r, s.user(fmt.Sprint("n", i)))
	}
}

// bigRoom is a room of a with members of many servers, and the answer to a join of it.
func bigRoom(b *testing.B, a *server, members int) id.RoomID {
	b.Helper()
	r := a.create(a.user("anna"))
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < members; i += 64 {
				a.join(r, a.user(fmt.Sprint("m", i)))
			}
		}()
	}
	wg.Wait()
	return r
}

func BenchmarkRemoteJoin(b *testing.B) {
	a := newServer(b, "klinik.test")
	r := bigRoom(b, a, 2000)
	var serve, take time.Duration
	for i := range b.N {
		s := newServer(b, fmt.Sprintf("praxis%d.test", i))
		who := s.user("bob")
		made, err := a.MakeJoin(ctx, s.name, r, who, roomver.Names())
		if err != nil {
			b.Fatal(err)
		}
		v, _ := roomver.Get(made.Version)
		tpl, err := event.ParseTemplate(made.Event, v)
		if err != nil {
			b.Fatal(err)
		}
		join, err := event.Build(v, tpl, s.name, s.key)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		answer, err := a.SendJoin(ctx, s.name, r, join)
		if err != nil {
			b.Fatal(err)
		}
		serve += time.Since(start)
		j := room.JoinAnswer{Origin: a.name, Room: r, Join: travel(b, []*room.Event{answer.Event})[0],
			State: travel(b, answer.State), AuthChain: travel(b, answer.AuthChain)}
		start = time.Now()
		if err := s.Import(ctx, j); err != nil {
			b.Fatal(err)
		}
		take += time.Since(start)
	}
	b.ReportMetric(float64(serve.Milliseconds())/float64(b.N), "ms-send_join")
	b.ReportMetric(float64(take.Milliseconds())/float64(b.N), "ms-import")
}

func BenchmarkReceive(b *testing.B) {
	a, s := newServer(b, "klinik.test"), newServer(b, "praxis.test")
	anna := a.user("anna")
	r := a.create(anna)
	s.joinRemotely(r, s.user("bob"), a)
	var pdus []*event.PDU
	for i := range b.N {
		pdus = append(pdus, a.pdu(a.say(r, anna, fmt.Sprint(i))))
	}
	b.ResetTimer()
	for len(pdus) > 0 {
		n := min(50, len(pdus))
		if _, err := s.ReceiveAll(ctx, a.name, r, pdus[:n]); err != nil {
			b.Fatal(err)
		}
		pdus = pdus[n:]
	}
}

func BenchmarkMessages(b *testing.B) {
	s := newServer(b, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < 1000; i += 64 {
				s.say(r, anna, fmt.Sprint(i))
			}
		}()
	}
	wg.Wait()
	b.ResetTimer()
	for range b.N {
		page, err := s.Messages(ctx, room.PageRequest{Room: r, User: anna, Backward: true, Limit: 1000})
		if err != nil || len(page.Events) != 1000 {
			b.Fatal(len(page.Events), err)
		}
		if _, err := s.ClientEvents(ctx, room.Format{Viewer: room.Viewer{User: anna}, Bundle: true}, page.Events); err != nil {
			b.Fatal(err)
		}
	}
}
