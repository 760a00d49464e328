package db_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"konsil/kit/db"
	"konsil/kit/db/dbtest"
)

func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

const (
	one = "CREATE TABLE a (id BIGINT PRIMARY KEY, engine TEXT);\n" +
		"-- only: sqlite\nINSERT INTO a VALUES (1, 'sqlite');\n-- end\n" +
		"-- only: postgres\nINSERT INTO a VALUES (1, 'postgres');\n-- end\n"
	two = "ALTER TABLE a ADD COLUMN more BIGINT;\nUPDATE a SET more = 7;"
)

func TestMigrateStepsOnceInOrder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		ctx := t.Context()
		d, err := db.Open(ctx, db.Config{URL: url, Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		older := files("0001_one.sql", one)
		newer := files("0001_one.sql", one, "0002_two.sql", two, "readme.txt", "no migration")
		for _, fsys := range []fstest.MapFS{older, older, newer, newer} {
			if err := db.Migrate(ctx, d, fsys); err != nil {
				t.Fatal(err)
			}
		}
		err = d.Read(ctx, func(tx *db.Tx) error {
			var engine string
			var more int
			if err := db.One(ctx, tx, `SELECT engine, more FROM a`, nil, &engine, &more); err != nil {
				return err
			}
			if !strings.HasPrefix(url, engine) || more != 7 {
				t.Errorf("got %s, %d", engine, more)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(ctx, d, older); !errors.Is(err, db.ErrNewer) {
			t.Errorf("an older program: %v", err)
		}
	})
}

func TestAFailedMigrationLeavesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		ctx := t.Context()
		d, err := db.Open(ctx, db.Config{URL: url, Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		if err := db.Migrate(ctx, d, files("0001_one.sql", one, "0002_bad.sql", "CREATE TABLE b (id BIGINT); SELEKT 1;")); err == nil {
			t.Fatal("no error")
		} else if !strings.Contains(err.Error(), "0002_bad") {
			t.Errorf("%v does not name the file", err)
		}
		if err := db.Migrate(ctx, d, files("0001_one.sql", one, "0002_good.sql", "CREATE TABLE b (id BIGINT);")); err != nil {
			t.Errorf("after repair: %v", err)
		}
	})
}

func TestMigrateTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for domain := range int64(4) {
			wg.Go(func() {
				d, err := db.Open(t.Context(), db.Config{URL: url, Domain: domain})
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = d.Close() }()
				if err := db.Migrate(t.Context(), d, files("0001_one.sql", one, "0002_two.sql", two)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestMigrationFilesAreChecked(t *testing.T) {
	d := open(t, db.Config{URL: dbtest.SQLite(t), Domain: 1})
	for name, fsys := range map[string]fstest.MapFS{
		"name":     files("1_one.sql", "SELECT 1;"),
		"no name":  files("0001.sql", "SELECT 1;"),
		"twice":    files("0001_one.sql", "SELECT 1;", "0001_two.sql", "SELECT 1;"),
		"open":     files("0001_one.sql", "-- only: sqlite\nSELECT 1;"),
		"engine":   files("0001_one.sql", "-- only: oracle\nSELECT 1;\n-- end"),
		"end":      files("0001_one.sql", "SELECT 1;\n-- end"),
		"nested":   files("0001_one.sql", "-- only: sqlite\n-- only: postgres\n-- end\n-- end"),
		"zero":     files("0000_one.sql", "SELECT 1;"),
		"negative": files("-001_one.sql", "SELECT 1;"),
	} {
		if err := db.Migrate(t.Context(), d, fsys); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "mysql://x", "sqlite:", "postgres://%zz", "sqlite:/dev/null/x.db"} {
		if d, err := db.Open(t.Context(), db.Config{URL: url}); err == nil {
			_ = d.Close()
			t.Errorf("%q is taken", url)
		}
	}
}

// A domain is all of a file's rows: an index that tells rooms apart is worth more than one that is in order already.
func TestSQLiteKnowsThatADomainIsEverything(t *testing.T) {
	ctx := t.Context()
	d, err := db.Open(ctx, db.Config{URL: dbtest.SQLite(t), Domain: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	first := files("0001_one.sql", `CREATE TABLE e (domain_id BIGINT, pos BIGINT, room BIGINT, PRIMARY KEY (domain_id, pos));`)
	second := files("0001_one.sql", "", "0002_two.sql", `CREATE INDEX e_by_room ON e (domain_id, room);`)
	for _, fsys := range []fstest.MapFS{first, second} { // the figures are written anew for an index that came later
		if err := db.Migrate(ctx, d, fsys); err != nil {
			t.Fatal(err)
		}
	}
	err = d.Read(ctx, func(tx *db.Tx) error {
		return db.Each(ctx, tx, `EXPLAIN QUERY PLAN SELECT room FROM e WHERE domain_id = $0 AND room = $1 ORDER BY pos LIMIT $2`, []any{1, 1},
			func(row *db.Row) error {
				var id, parent, unused int64
				var step string
				err := row.Scan(&id, &parent, &unused, &step)
				if strings.HasPrefix(step, "SEARCH") && !strings.Contains(step, "(domain_id=? AND room=?)") {
					t.Error(step)
				}
				return err
			})
	})
	if err != nil {
		t.Fatal(err)
	}
}
