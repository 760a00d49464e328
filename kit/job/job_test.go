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
