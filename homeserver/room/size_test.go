package room_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

func BenchmarkDiskPerMessage(b *testing.B) {
	s := newServer(b, "klinik.test")
	anna := s.user("anna")
	r := s.create(anna)
	const n = 5000
	for range b.N {
		var wg sync.WaitGroup
		for w := range 64 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := w; i < n; i += 64 {
					s.say(r, anna, fmt.Sprint("a short message of the usual kind ", i))
				}
			}()
		}
		wg.Wait()
	}
	if err := s.store.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(strings.TrimPrefix(s.url, "sqlite:"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(n*b.N), "B/msg")
	s.open()
}
