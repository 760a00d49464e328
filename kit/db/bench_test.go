package db_test

// Processor time per operation, 2026-11-21, 2 cores of an AMD EPYC at a load of 5 to 10 from other work; PostgreSQL 15 with its
// own share counted, without fsync. Wall times of that day say nothing.
//
//	                                 SQLite on disk, FULL   PostgreSQL
//	one insert, 1 / 8 / 64 writers   300 / 87 / 39 µs       169 / 47 / 22 µs
//	six statements queued, 1/8/64    290 / 117 / 61 µs      250 / 119 / 83 µs
//	the same one by one              as queued              520 / 620 / 970 µs
//	point read: snapshot, ReadOne, within a transaction      13.4 / 12.8 / 7.6 µs   90 / 60 / 51 µs
//	100 rows of 1 KB                 147 µs                 283 µs
//
// Of a lone SQLite commit some 180 µs are the kernel's (fsync and the log's writes): on a RAM disk the six statements and their
// commit take 97 µs. Against database/sql over the same SQLite, BenchmarkLayers: 6 allocations instead of 12 for an insert,
// 8 instead of 28 for a point read; the time is about the same, for most of it is SQLite itself.
//
//	go test ./kit/db -run - -bench . -benchtime 2s

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"konsil/kit/db"
	"konsil/kit/db/dbtest"
)

// cpu is the processor time of this process and, for PostgreSQL, of the server's processes that work for us.
func cpu(b *testing.B, d *db.DB, url string) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if strings.HasPrefix(url, "sqlite:") {
		return total
	}
	var pids []int
	err := d.Read(b.Context(), func(tx *db.Tx) error {
		var err error
		pids, err = db.List[int](b.Context(), tx, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'`)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, pid := range pids {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // gone means no more time
		fields := strings.Fields(string(raw))
		if len(fields) > 15 {
			var user, system int64
			_, _ = fmt.Sscan(fields[13], &user)
			_, _ = fmt.Sscan(fields[14], &system)
			total += time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	return total
}

// measure runs fn b.N times in each of some goroutines' share, and reports the processor time of one.
func measure(b *testing.B, d *db.DB, url string, goroutines int, fn func(i int64) error) {
	b.Helper()
	var next atomic.Int64
	b.ReportAllocs()
	before := cpu(b, d, url)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b, d, url)-before).Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
}

var body = []byte(strings.Repeat(`{"type":"m.room.message"}`, 40)) // 1,000 bytes

const insertItem = `INSERT INTO item (domain_id, id, name, body, pos) VALUES ($0, $1, $2, $3, $4)`

func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			dbtest.EachBench(b, func(b *testing.B, url string) {
				d, ctx := open(b, db.Config{URL: url, Domain: 1}), context.Background()
				measure(b, d, url, writers, func(i int64) error {
					return d.Write(ctx, func(tx *db.Tx) error {
						return tx.Queue(ctx, insertItem, i, fmt.Sprintf("$%040d", i), body, tx.NextPosition())
					})
				})
			})
		})
	}
}

// BenchmarkSend is about what storing a message does: six statements, none of them with a result.
func BenchmarkSend(b *testing.B) {
	for _, how := range []string{"exec", "queue"} {
		for _, writers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", how, writers), func(b *testing.B) {
				dbtest.EachBench(b, func(b *testing.B, url string) {
					d, ctx := open(b, db.Config{URL: url, Domain: 1}), context.Background()
					measure(b, d, url, writers, func(i int64) error {
						return d.Write(ctx, func(tx *db.Tx) error { return send(ctx, tx, i, how == "exec") })
					})
				})
			})
		}
	}
}

func send(ctx context.Context, tx *db.Tx, i int64, exec bool) error {
	pos := tx.NextPosition()
	run := func(q string, args ...any) error {
		if exec {
			_, err := tx.Exec(ctx, q, args...)
			return err
		}
		return tx.Queue(ctx, q, args...)
	}
	for k := range int64(4) {
		if err := run(insertItem, 4*i+k, fmt.Sprintf("$%040d", 4*i+k), body[:1000>>k], pos); err != nil {
			return err
		}
	}
	if err := run(`UPDATE item SET pos = $2 WHERE domain_id = $0 AND id = $1`, 4*i, pos); err != nil {
		return err
	}
	return run(`DELETE FROM item WHERE domain_id = $0 AND id = $1`, -i)
}

func BenchmarkReadPoint(b *testing.B) {
	dbtest.EachBench(b, func(b *testing.B, url string) {
		const rows = 1000
		d, ctx := open(b, db.Config{URL: url, Domain: 1}), context.Background()
		err := d.Write(ctx, func(tx *db.Tx) error {
			for i := range int64(rows) {
				if err := tx.Queue(ctx, insertItem, i, fmt.Sprint(i), body, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		const q = `SELECT id, name, body FROM item WHERE domain_id = $0 AND id = $1`
		point := func(tx *db.Tx, i int64) error {
			var id int64
			var name string
			var body []byte
			return db.One(ctx, tx, q, []any{i % rows}, &id, &name, &body)
		}
		b.Run("snapshot", func(b *testing.B) {
			measure(b, d, url, 1, func(i int64) error { return d.Read(ctx, func(tx *db.Tx) error { return point(tx, i) }) })
		})
		b.Run("limited", func(b *testing.B) {
			const q = `SELECT id FROM item WHERE domain_id = $0 AND id > $1 ORDER BY id LIMIT $2`
			measure(b, d, url, 1, func(i int64) error {
				return d.ReadOne(ctx, func(tx *db.Tx) error {
					_, err := db.List[int64](ctx, tx, q, i%rows, int64(1))
					return err
				})
			})
		})
		b.Run("one", func(b *testing.B) {
			measure(b, d, url, 1, func(i int64) error { return d.ReadOne(ctx, func(tx *db.Tx) error { return point(tx, i) }) })
		})
		b.Run("within", func(b *testing.B) {
			err := d.Read(ctx, func(tx *db.Tx) error {
				measure(b, d, url, 1, func(i int64) error { return point(tx, i) })
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		b.Run("list100", func(b *testing.B) {
			measure(b, d, url, 1, func(int64) error {
				return d.ReadOne(ctx, func(tx *db.Tx) error {
					n := 0
					return db.Each(ctx, tx, `SELECT id, body FROM item WHERE domain_id = $0 AND id < 100`, nil, func(r *db.Row) error {
						var id int64
						var body []byte
						n++
						return r.Scan(&id, &body)
					})
				})
			})
		})
	})
}

// BenchmarkLayers compares this package with database/sql over the same SQLite.
func BenchmarkLayers(b *testing.B) {
	d := open(b, db.Config{URL: dbtest.SQLite(b), Domain: 1})
	ctx := context.Background()
	std, err := sql.Open("sqlite", "file:"+b.TempDir()+"/std.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-1024)&_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = std.Close() }()
	std.SetMaxOpenConns(1)
	for _, q := range []string{
		`CREATE TABLE item (domain_id BIGINT NOT NULL, id BIGINT NOT NULL, name TEXT, body BYTEA, pos BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (domain_id, id)) WITHOUT ROWID`,
		`CREATE UNIQUE INDEX item_name ON item (domain_id, name)`,
	} {
		if _, err := std.Exec(q); err != nil {
			b.Fatal(err)
		}
	}
	insert, err := std.Prepare(`INSERT INTO item (domain_id, id, name, body, pos) VALUES (1, ?, ?, ?, ?)`)
	if err != nil {
		b.Fatal(err)
	}
	read, err := std.Prepare(`SELECT id, name, body FROM item WHERE domain_id = 1 AND id = ?`)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("insert-in-tx/database-sql", func(b *testing.B) {
		tx, err := std.Begin()
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = tx.Commit() }()
		stmt := tx.Stmt(insert)
		base := time.Now().UnixNano()
		measure(b, d, "sqlite:", 1, func(i int64) error {
			_, err := stmt.Exec(base+i, fmt.Sprintf("$%040d", base+i), body, i)
			return err
		})
	})
	b.Run("insert-in-tx/kit", func(b *testing.B) {
		base := time.Now().UnixNano()
		err := d.Write(ctx, func(tx *db.Tx) error {
			measure(b, d, "sqlite:", 1, func(i int64) error {
				_, err := tx.Exec(ctx, insertItem, base+i, fmt.Sprintf("$%040d", base+i), body, i)
				return err
			})
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	if _, err := insert.Exec(7, "seven", body, 0); err != nil {
		b.Fatal(err)
	}
	if err := d.Write(ctx, func(tx *db.Tx) error { return tx.Queue(ctx, insertItem, 7, "seven", body, 0) }); err != nil {
		b.Fatal(err)
	}
	b.Run("point/database-sql", func(b *testing.B) {
		measure(b, d, "sqlite:", 1, func(int64) error {
			var id int64
			var name string
			var body []byte
			return read.QueryRow(7).Scan(&id, &name, &body)
		})
	})
	b.Run("point/kit", func(b *testing.B) {
		measure(b, d, "sqlite:", 1, func(int64) error {
			return d.ReadOne(ctx, func(tx *db.Tx) error {
				var id int64
				var name string
				var body []byte
				return db.One(ctx, tx, `SELECT id, name, body FROM item WHERE domain_id = $0 AND id = $1`, []any{7}, &id, &name, &body)
			})
		})
	})
}
