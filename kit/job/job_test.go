package job_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"konsil/kit/clock"
	"konsil/kit/job"
)

func TestAFailingJobIsTriedAgainAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := job.NewGroup(t.Context(), job.Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		var starts []time.Duration
		begun := time.Now()
		g.Go("pusher", func(context.Context) error {
			starts = append(starts, time.Since(begun))
			switch len(starts) {
			case 1, 2:
				return errors.New("no network")
			case 3:
				panic("a bug")
			}
			return nil
		})
		g.Wait()
		want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}
		if !slices.Equal(starts, want) {
			t.Errorf("started at %v, want %v", starts, want)
		}
		if n := strings.Count(log.String(), "job failed"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "failures=3") {
			t.Errorf("no word of the recovery:\n%s", log.String())
		}
	})
}

func TestThePauseEndsAtFiveMinutesAndAfterHealthyWorkBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := job.NewGroup(t.Context(), job.Config{Log: slog.New(slog.DiscardHandler)})
		var pauses []time.Duration
		var ended time.Time
		runs := 0
		g.Go("x", func(context.Context) error {
			if runs++; runs > 1 {
				pauses = append(pauses, time.Since(ended))
			}
			defer func() { ended = time.Now() }()
			switch runs {
			case 13:
				time.Sleep(time.Hour)
			case 14:
				return nil
			}
			return errors.New("x")
		})
		g.Wait()
		if longest := slices.Max(pauses); longest != 5*time.Minute {
			t.Errorf("longest pause %v", longest)
		}
		if last := pauses[len(pauses)-1]; last != time.Second {
			t.Errorf("pause after healthy work %v", last)
		}
	})
}

func TestStopWaitsForAll(t *testing.T) {
	g := job.NewGroup(t.Context(), job.Config{})
	var ended atomic.Int32
	for range 3 {
		g.Go("waits", func(ctx context.Context) error {
			<-ctx.Done()
			ended.Add(1)
			return ctx.Err()
		})
	}
	g.Stop()
	if ended.Load() != 3 {
		t.Errorf("%d of 3 ended before Stop returned", ended.Load())
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		begun := time.Now()
		err := job.Every(ctx, clock.System(), rand.Reader, time.Minute, func(context.Context) error {
			if n++; n == 100 {
				cancel()
			}
			return nil
		})
		if took := time.Since(begun); err != nil || n != 100 || took < 90*time.Minute || took > 110*time.Minute {
			t.Errorf("%d runs in %v, %v", n, took, err)
		}
		boom := errors.New("boom")
		if err := job.Every(t.Context(), clock.System(), nil, time.Minute, func(context.Context) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	})
}

// log is a durable log and cursor, as a store would hold them.
type log struct {
	entries []int64
	cursor  int64
}

func (l *log) follower(handle func([]int64) error, wake chan struct{}) job.Follower[int64] {
	return job.Follower[int64]{
		Load: func(context.Context) (int64, error) { return l.cursor, nil },
		Take: func(_ context.Context, after int64) ([]int64, int64, error) {
			var batch []int64
			for _, e := range l.entries {
				if e > after && len(batch) < 2 {
					batch = append(batch, e)
				}
			}
			if len(batch) == 0 {
				return nil, after, nil
			}
			return batch, batch[len(batch)-1], nil
		},
		Handle: func(_ context.Context, batch []int64) error { return handle(batch) },
		Store:  func(_ context.Context, upTo int64) error { l.cursor = upTo; return nil },
		Wake:   wake,
	}
}

func TestFollowGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{entries: []int64{1, 2, 5, 9, 10}}
		var seen []int64
		boom := errors.New("boom")
		err := job.Follow(t.Context(), l.follower(func(b []int64) error {
			if b[0] == 5 {
				return boom
			}
			seen = append(seen, b...)
			return nil
		}, nil))
		if !errors.Is(err, boom) || l.cursor != 2 {
			t.Fatalf("got %v at %d", err, l.cursor)
		}
		wake := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- job.Follow(ctx, l.follower(func(b []int64) error { seen = append(seen, b...); return nil }, wake))
		}()
		synctest.Wait()
		l.entries = append(l.entries, 11)
		wake <- struct{}{}
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if want := []int64{1, 2, 5, 9, 10, 11}; !slices.Equal(seen, want) || l.cursor != 11 {
			t.Errorf("saw %v up to %d", seen, l.cursor)
		}
	})
}

func TestFollowPollsForLostHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		ctx, cancel := context.WithCancel(t.Context())
		f := l.follower(func([]int64) error { cancel(); return nil }, make(chan struct{}))
		f.Poll = time.Minute
		time.AfterFunc(90*time.Second, func() { l.entries = []int64{4} })
		begun := time.Now()
		if err := job.Follow(ctx, f); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 2*time.Minute {
			t.Errorf("found after %v", took)
		}
	})
}

func TestFollowRefusesToSpin(t *testing.T) {
	f := job.Follower[int]{
		Load: func(context.Context) (int64, error) { return 5, nil },
		Take: func(context.Context, int64) ([]int, int64, error) { return []int{1}, 5, nil },
	}
	if err := job.Follow(t.Context(), f); err == nil {
		t.Error("no error")
	}
}

func TestJitter(t *testing.T) {
	for range 1000 {
		if d := job.Jitter(rand.Reader, time.Second); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Fatalf("%v", d)
		}
	}
	if d := job.Jitter(nil, time.Second); d != time.Second {
		t.Errorf("%v", d)
	}
}
