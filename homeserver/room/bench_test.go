package room_test

import (
	"fmt"
	"sync"
	"testing"

	"konsil/homeserver/room"
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
	r := s.create(s.user("anna"))
	const members = 5000
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < members; i += 64 {
				s.join(r, s.user(fmt.Sprint("m", i)))
			}
		}()
	}
	wg.Wait()
	b.ResetTimer()
	for i := range b.N {
		s.join(r, s.user(fmt.Sprint("n", i)))
	}
	_ = room.ErrUnknownRoom
}
