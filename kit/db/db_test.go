package db_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"konsil/kit/db"
	"konsil/kit/db/dbtest"
)

// schema is what the tests of this package write into.
var schema = fstest.MapFS{"0001_item.sql": {Data: []byte(`
CREATE TABLE item (
	domain_id BIGINT NOT NULL,
	id BIGINT NOT NULL,
	name TEXT,
	body BYTEA,
	pos BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (domain_id, id)
)
-- only: sqlite
WITHOUT ROWID
-- end
;
CREATE UNIQUE INDEX item_name ON item (domain_id, name);
`)}}

// open gives a migrated handle.
func open(t testing.TB, cfg db.Config) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := db.Migrate(t.Context(), d, schema); err != nil {
		t.Fatal(err)
	}
	return d
}

func insert(ctx context.Context, tx *db.Tx, id int64, name string) error {
	_, err := tx.Exec(ctx, `INSERT INTO item (domain_id, id, name) VALUES ($0, $1, $2)`, id, name)
	return err
}

func ids(t *testing.T, d *db.DB) []int64 {
	t.Helper()
	var list []int64
	err := d.Read(t.Context(), func(tx *db.Tx) error {
		var err error
		list, err = db.List[int64](t.Context(), tx, `SELECT id FROM item WHERE domain_id = $0 ORDER BY id`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

type name string // as an id.RoomID is one

func TestValuesComeBackAsTheyWent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 7}), t.Context()
		text := "grüße 'x' $1 ? \U0001F9D1\u200d⚕"
		err := d.Write(ctx, func(tx *db.Tx) error {
			n, err := tx.Exec(ctx, `INSERT INTO item (id, domain_id, name, body) VALUES ($2, $0, $1, $3)`, name(text), int32(1), []byte{0, 255, 0})
			if n != 1 {
				t.Errorf("%d rows", n)
			}
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `INSERT INTO item (domain_id, id, name, body) VALUES ($0, $1, $2, $3)`, true, nil, []byte(nil)); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO item (domain_id, id, name, body) VALUES ($0, $1, $2, $3)`, uint8(2), "", []byte{})
			return err
		})
		if !errors.Is(err, db.ErrConflict) { // true is 1
			t.Fatalf("got %v, want a conflict", err)
		}
		err = d.Write(ctx, func(tx *db.Tx) error {
			for _, row := range [][]any{{1, name(text), []byte{0, 255, 0}}, {2, nil, []byte(nil)}, {3, "", []byte{}}} {
				if _, err := tx.Exec(ctx, `INSERT INTO item (domain_id, id, name, body) VALUES ($0, $1, $2, $3)`, row...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		type row struct {
			ID   int
			Name *name
			Body []byte
		}
		var rows []row
		err = d.Read(ctx, func(tx *db.Tx) error {
			return db.Each(ctx, tx, `SELECT id, name, body FROM item WHERE domain_id = $0 ORDER BY id`, nil, func(r *db.Row) error {
				var x row
				if err := r.Scan(&x.ID, &x.Name, &x.Body); err != nil {
					return err
				}
				rows = append(rows, x)
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		n, empty := name(text), name("")
		want := []row{{1, &n, []byte{0, 255, 0}}, {2, nil, nil}, {3, &empty, []byte{}}}
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReads(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		err := d.Write(ctx, func(tx *db.Tx) error {
			for i, n := range []string{"a", "b", "c\"d", "e"} {
				if err := insert(ctx, tx, int64(i+1), n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Read(ctx, func(tx *db.Tx) error {
			got, err := db.Get[name](ctx, tx, `SELECT name FROM item WHERE domain_id = $0 AND id = $1`, 2)
			if got != "b" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			if _, err := db.Get[string](ctx, tx, `SELECT name FROM item WHERE domain_id = $0 AND id = $1`, 99); !errors.Is(err, db.ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound", err)
			}
			var id int64
			var n string
			if err := db.One(ctx, tx, `SELECT id, name FROM item WHERE domain_id = $0 AND name = $1`, []any{"c\"d"}, &id, &n); err != nil || id != 3 {
				t.Errorf("got %d, %v", id, err)
			}
			for _, c := range []struct {
				q    string
				list any
				want []int64
			}{
				{`SELECT id FROM item WHERE domain_id = $0 AND name in($1) ORDER BY id`, []name{"c\"d", "a", "zz"}, []int64{1, 3}},
				{`SELECT id FROM item WHERE domain_id = $0 AND name IN ($1) ORDER BY id`, []string{}, nil},
				{`SELECT id FROM item WHERE domain_id = $0 AND id in($1) ORDER BY id`, []int64{4, 2}, []int64{2, 4}},
				{`SELECT id FROM item WHERE domain_id = $0 AND id not in($1) ORDER BY id`, []int{4, 2}, []int64{1, 3}},
				{`SELECT id FROM item WHERE domain_id = $0 AND id not in($1) ORDER BY id`, []int64(nil), []int64{1, 2, 3, 4}},
			} {
				got, err := db.List[int64](ctx, tx, c.q, c.list)
				if err != nil || !slices.Equal(got, c.want) {
					t.Errorf("%s with %v: got %v, %v", c.q, c.list, got, err)
				}
			}
			sum, err := db.Get[int64](ctx, tx, `SELECT SUM(id) FROM item WHERE domain_id = $0`)
			if sum != 10 || err != nil {
				t.Errorf("sum %d, %v", sum, err)
			}
			many, err := db.Get[bool](ctx, tx, `SELECT COUNT(*) > 3 FROM item WHERE domain_id = $0`)
			if !many || err != nil {
				t.Errorf("count > 3: %v, %v", many, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestStatementsMayNest(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		d, ctx := open(t, db.Config{URL: url, Domain: 1}), t.Context()
		const q = `SELECT id FROM item WHERE domain_id = $0 AND id > $1 ORDER BY id`
		var pairs [][2]int64
		err := d.Write(ctx, func(tx *db.Tx) error {
			for i := range int64(3) {
				if err := insert(ctx, tx, i, string(rune('a'+i))); err != nil {
					return err
				}
			}
			pairs = nil
			return db.Each(ctx, tx, q, []any{-1}, func(outer *db.Row) error {
				var a int64
				if err := outer.Scan(&a); err != nil {
					return err
				}
				return db.Each(ctx, tx, q, []any{a}, func(inner *db.Row) error {
					var b int64
					err := inner.Scan(&b)
					pairs = append(pairs, [2]int64{a, b})
					return err
				})
			})
		})
		if want := [][2]int64{{0, 1}, {0, 2}, {1, 2}}; err != nil || !slices.Equal(pairs, want) {
			t.Errorf("got %v, %v", pairs, err)
		}
	})
}
