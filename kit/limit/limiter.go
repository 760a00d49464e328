package limit

import (
	"hash/maphash"
	"sync"
	"time"

	"konsil/kit/clock"
)

// Rate is how often something may happen: Burst times at once, PerSecond in the long run.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limiter is a set of token buckets, one for each class of requests and person. Its memory is bounded: with more persons
// than it has room for, some find a full bucket that they had emptied.
type Limiter struct {
	clock  clock.Clock
	off    bool
	seed   maphash.Seed
	shards [shards]shard
}

const shards = 16

type shard struct {
	mu   sync.Mutex
	full map[key]int64 // when the bucket will be full again, ns; guarded by mu
	max  int
}

type key struct{ class, who string }

// Off is a Limiter that lets everything pass: for test suites.
func Off() *Limiter { return &Limiter{off: true} }

// New makes a Limiter with room for about max buckets.
func New(c clock.Clock, max int) *Limiter {
	l := &Limiter{clock: c, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].full = map[key]int64{}
		l.shards[i].max = max/shards + 1
	}
	return l
}

// Allow takes a token from the bucket of who in class. Without one it says how long to wait. A zero Rate is no limit.
func (l *Limiter) Allow(class, who string, r Rate) (wait time.Duration, ok bool) {
	if l.off || r.PerSecond <= 0 {
		return 0, true
	}
	k := key{class, who}
	s := &l.shards[maphash.Comparable(l.seed, k)%shards]
	now := l.clock.Now().UnixNano()
	step := int64(float64(time.Second) / r.PerSecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	full, known := s.full[k]
	if !known && len(s.full) >= s.max {
		s.makeRoom(now)
	}
	full = max(full, now) + step
	if over := full - now - step*int64(max(r.Burst, 1)); over > 0 {
		return time.Duration(over), false
	}
	s.full[k] = full
	return 0, true
}

// makeRoom forgets the full buckets, which are as good as unknown ones, and if there are none, any eighth of them.
func (s *shard) makeRoom(now int64) {
	for k, full := range s.full {
		if full <= now {
			delete(s.full, k)
		}
	}
	if len(s.full) < s.max {
		return
	}
	drop := s.max/8 + 1
	for k := range s.full {
		if drop == 0 {
			return
		}
		delete(s.full, k)
		drop--
	}
}

// Len is how many buckets are remembered: for metrics.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.full)
		s.mu.Unlock()
	}
	return n
}
