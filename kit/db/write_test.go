package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"konsil/kit/db"
	"konsil/kit/db/dbtest"
)

// blocked holds the writer of d inside a transaction of its own until the test has queued what is to share the next one.
func blocked(t *testing.T, d *db.DB, queue func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- d.Write(context.Background(), func(*db.Tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	queue()
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// submit queues a function while the writer is blocked, and gives its outcome.
func submit(t *testing.T, d *db.DB, fn func(tx *db.Tx) error) func() error {
	t.Helper()
	p, err := d.Submit(fn)
	if err != nil {
		t.Fatal(err)
	}
	return func() error { return p.Wait(context.Background()) }
}

func TestGroupCommitKeepsTheOrder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		const n = 300 // more than one batch
		var outcomes []func() error
		pos := make([]int64, n)
		blocked(t, d, func() {
			for i := range n {
				outcomes = append(outcomes, submit(t, d, func(tx *db.Tx) error {
					pos[i] = tx.NextPosition()
					return tx.Queue(ctx, `INSERT INTO item (domain_id, id, pos) VALUES ($0, $1, $2)`, i, pos[i])
				}))
			}
		})
		for i, wait := range outcomes {
			if err := wait(); err != nil {
				t.Fatal(i, err)
			}
			if d.Position() < pos[i] {
				t.Fatalf("answered at position %d, shows %d", pos[i], d.Position())
			}
		}
		for i := range pos {
			if pos[i] != int64(i+1) {
				t.Fatalf("the %dth function got position %d", i, pos[i])
			}
		}
		if got := len(ids(t, d)); got != n {
			t.Errorf("%d rows of %d", got, n)
		}
	})
}

func TestAnErrorUndoesItsFunctionOnly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		boom := errors.New("boom")
		fns := []struct {
			name string
			fn   func(tx *db.Tx) error
			want string // in the error; "" for none
		}{
			{"fine", func(tx *db.Tx) error { return insert(ctx, tx, 1, "a") }, ""},
			{"writes, then fails", func(tx *db.Tx) error {
				tx.NextPosition()
				if err := insert(ctx, tx, 2, "b"); err != nil {
					return err
				}
				return boom
			}, "boom"},
			{"fails before it writes", func(*db.Tx) error { return boom }, "boom"},
			{"panics", func(tx *db.Tx) error {
				if err := insert(ctx, tx, 3, "c"); err != nil {
					return err
				}
				panic("a bug")
			}, "panic in a transaction: a bug"},
			{"conflicts", func(tx *db.Tx) error { return insert(ctx, tx, 1, "again") }, "row exists"},
			{"conflicts in the queue", func(tx *db.Tx) error {
				return tx.Queue(ctx, `INSERT INTO item (domain_id, id) VALUES ($0, 1)`)
			}, "row exists"},
			{"goes on after a failed statement", func(tx *db.Tx) error {
				_ = insert(ctx, tx, 1, "again")
				return nil
			}, "went on"},
			{"bad statement", func(tx *db.Tx) error { _, err := tx.Exec(ctx, `INSERT INTO nowhere (x) VALUES (1)`); return err }, "nowhere"},
			{"bad argument", func(tx *db.Tx) error { return tx.Queue(ctx, `DELETE FROM item WHERE id = $1`, struct{}{}) }, "no argument"},
			{"also fine", func(tx *db.Tx) error { tx.NextPosition(); return insert(ctx, tx, 5, "e") }, ""},
		}
		outcomes := make([]func() error, len(fns))
		blocked(t, d, func() {
			for i := range fns {
				outcomes[i] = submit(t, d, fns[i].fn)
			}
		})
		for i, f := range fns {
			err := outcomes[i]()
			text := fmt.Sprint(err)
			if errors.Is(err, db.ErrConflict) {
				text += " row exists"
			}
			if (err == nil) != (f.want == "") || !strings.Contains(text, f.want) {
				t.Errorf("%s: got %v, want %q", f.name, err, f.want)
			}
		}
		if got := ids(t, d); !slices.Equal(got, []int64{1, 5}) {
			t.Errorf("rows %v, want 1 and 5", got)
		}
		if d.Position() != 1 {
			t.Errorf("position %d, want 1: undone functions hold none", d.Position())
		}
		// The writer lives on, and each failure is the same when the function is alone.
		for _, f := range fns[1:9] {
			if err := d.Write(ctx, f.fn); err == nil {
				t.Errorf("%s: no error alone", f.name)
			}
		}
		if err := d.Write(ctx, func(tx *db.Tx) error { return insert(ctx, tx, 6, "f") }); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, d); !slices.Equal(got, []int64{1, 5, 6}) {
			t.Errorf("rows %v", got)
		}
	})
}

func TestACallerWhoGivesUpBreaksNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d := open(t, db.Config{URL: url, Domain: 1})
		var gone, stays error
		blocked(t, d, func() {
			// Still in the queue when its context ends: it never runs.
			ctx, cancel := context.WithCancel(t.Context())
			p, err := d.Submit(func(tx *db.Tx) error { return insert(ctx, tx, 1, "a") })
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			gone = p.Wait(ctx)
		})
		if !errors.Is(gone, context.Canceled) {
			t.Errorf("got %v", gone)
		}
		// Running when its context ends: it is done nevertheless, and says so.
		ctx, cancel := context.WithCancel(t.Context())
		stays = d.Write(ctx, func(tx *db.Tx) error {
			cancel()
			return insert(ctx, tx, 2, "b")
		})
		if stays != nil {
			t.Errorf("a function that had started: %v", stays)
		}
		if err := d.Write(ctx, func(*db.Tx) error { t.Error("ran with an ended context"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if got := ids(t, d); !slices.Equal(got, []int64{2}) {
			t.Errorf("rows %v", got)
		}
	})
}

func TestAFunctionThatEndsItsGoroutine(t *testing.T) {
	d := open(t, db.Config{URL: dbtest.SQLite(t), Domain: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Write(context.Background(), func(tx *db.Tx) error {
			_ = insert(context.Background(), tx, 1, "a")
			new(testing.T).FailNow() // as a test's helper does inside a transaction
			return nil
		})
	}()
	<-done
	if err := d.Write(t.Context(), func(tx *db.Tx) error { return insert(t.Context(), tx, 2, "b") }); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, d); !slices.Equal(got, []int64{2}) {
		t.Errorf("rows %v", got)
	}
}

func TestManyWritersAndReaders(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		const writers, each = 8, 25
		stop := make(chan struct{})
		var readers, wg sync.WaitGroup
		for range 3 { // whoever knows a position sees everything up to it
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					known := d.Position()
					err := d.Read(ctx, func(tx *db.Tx) error {
						var rows, top int64
						err := db.One(ctx, tx, `SELECT COUNT(*), COALESCE(MAX(pos), 0) FROM item WHERE domain_id = $0`, nil, &rows, &top)
						if rows != top || top < known {
							t.Errorf("position %d known, %d rows up to %d", known, rows, top)
						}
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					var pos int64
					err := d.Write(ctx, func(tx *db.Tx) error {
						pos = tx.NextPosition()
						_, err := tx.Exec(ctx, `INSERT INTO item (domain_id, id, pos) VALUES ($0, $1, $2)`, w*1000+i, pos)
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
					if d.Position() < pos {
						t.Errorf("answered before position %d was visible", pos)
					}
				}
			})
		}
		wg.Wait()
		close(stop)
		readers.Wait()
		if d.Position() != writers*each {
			t.Errorf("position %d", d.Position())
		}
	})
}

func TestASnapshotStandsStill(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		const count = `SELECT COUNT(*) FROM item WHERE domain_id = $0`
		err := d.Read(ctx, func(tx *db.Tx) error {
			before, err := db.Get[int](ctx, tx, count)
			if err != nil {
				return err
			}
			if err := d.Write(ctx, func(tx *db.Tx) error { return insert(ctx, tx, 1, "a") }); err != nil {
				return err
			}
			after, err := db.Get[int](ctx, tx, count)
			if before != 0 || after != 0 {
				t.Errorf("saw %d, then %d rows", before, after)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.ReadOne(ctx, func(tx *db.Tx) error {
			if n, err := db.Get[int](ctx, tx, count); n != 1 || err != nil {
				t.Errorf("ReadOne saw %d, %v", n, err)
			}
			if _, err := db.Get[int](ctx, tx, count); err == nil {
				t.Error("ReadOne takes a second statement")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadsCannotWrite(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		if err := d.Read(ctx, func(tx *db.Tx) error { return insert(ctx, tx, 1, "a") }); err == nil {
			t.Error("a read wrote")
		}
		var kept *db.Tx
		if err := d.Read(ctx, func(tx *db.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Exec(ctx, `DELETE FROM item`); err == nil {
			t.Error("a transaction works after its end")
		}
	})
}

func TestThePositionSurvives(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		ctx := t.Context()
		first := open(t, db.Config{URL: url, Domain: 1})
		next := func(d *db.DB) (int64, error) {
			var pos int64
			err := d.Write(ctx, func(tx *db.Tx) error { pos = tx.NextPosition(); return nil })
			return pos, err
		}
		for want := int64(1); want <= 3; want++ {
			if pos, err := next(first); pos != want || err != nil {
				t.Fatalf("got %d, %v", pos, err)
			}
		}
		first.Release()
		if pos, err := next(first); pos != 4 || err != nil {
			t.Fatalf("after Release: %d, %v", pos, err)
		}
		second := open(t, db.Config{URL: url, Domain: 1})
		if second.Position() != 4 {
			t.Errorf("a second handle begins at %d", second.Position())
		}
		if pos, err := next(second); pos != 5 || err != nil {
			t.Errorf("got %d, %v", pos, err)
		}
		// Two handles write one domain: a mistake of whoever runs two processes. No number is given twice.
		if pos, err := next(first); err == nil {
			t.Errorf("the first handle gave %d again", pos)
		}
		if pos, err := next(first); pos != 6 || err != nil {
			t.Errorf("after the accident: %d, %v", pos, err)
		}
	})
}

func TestDomainsDoNotSeeEachOther(t *testing.T) {
	url := dbtest.Postgres(t) // on SQLite each domain has a file
	ctx := t.Context()
	var pools db.Pools
	a := open(t, db.Config{URL: url, Domain: 1, Pools: &pools, MaxConns: 2})
	b := open(t, db.Config{URL: url, Domain: 2, Pools: &pools})
	var wg sync.WaitGroup
	for _, d := range []*db.DB{a, b} {
		wg.Go(func() {
			for i := range int64(20) {
				err := d.Write(ctx, func(tx *db.Tx) error {
					_, err := tx.Exec(ctx, `INSERT INTO item (domain_id, id, pos) VALUES ($0, $1, $2)`, i*d.Domain(), tx.NextPosition())
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if a.Position() != 20 || b.Position() != 20 {
		t.Errorf("positions %d and %d: the orders are not their own", a.Position(), b.Position())
	}
	if err := a.Write(ctx, func(tx *db.Tx) error { _, err := tx.Exec(ctx, `DELETE FROM item WHERE domain_id = $0`); return err }); err != nil {
		t.Fatal(err)
	}
	if got := len(ids(t, a)); got != 0 {
		t.Errorf("%d rows left in a", got)
	}
	if got := ids(t, b); len(got) != 20 || got[19] != 38 {
		t.Errorf("rows of b: %v", got)
	}
}

func TestCloseLetsTheQueueFinish(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		p, err := d.Submit(func(tx *db.Tx) error { return insert(ctx, tx, 1, "a") })
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(ctx); err != nil {
			t.Errorf("queued before Close: %v", err)
		}
		if err := d.Write(ctx, func(*db.Tx) error { return nil }); !errors.Is(err, db.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		if err := d.Read(ctx, func(*db.Tx) error { return nil }); !errors.Is(err, db.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestLostConnectionsRecover(t *testing.T) {
	url := dbtest.Postgres(t)
	d := open(t, db.Config{URL: url, Domain: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kill := func(tx *db.Tx) error { // the server ends this very connection
		_, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
		return err
	}
	if err := d.Write(ctx, func(tx *db.Tx) error {
		if err := insert(ctx, tx, 1, "a"); err != nil {
			return err
		}
		return kill(tx)
	}); err == nil {
		t.Error("no error from a lost connection")
	}
	if err := d.Write(ctx, func(tx *db.Tx) error { tx.NextPosition(); return insert(ctx, tx, 2, "b") }); err != nil {
		t.Errorf("did not recover: %v", err)
	}
	if got := ids(t, d); !slices.Equal(got, []int64{2}) || d.Position() != 1 {
		t.Errorf("rows %v at %d", got, d.Position())
	}
}

func TestACancelledReadEnds(t *testing.T) {
	d := open(t, db.Config{URL: dbtest.Postgres(t), Domain: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := d.Read(ctx, func(tx *db.Tx) error {
		_, err := db.Get[[]byte](ctx, tx, `SELECT pg_sleep(30)::text::bytea`)
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 10*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begun))
	}
	if got := ids(t, d); len(got) != 0 {
		t.Errorf("rows %v", got)
	}
}
