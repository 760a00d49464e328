package db

import (
	"regexp"
	"strings"
	"testing"
)

func TestRewrite(t *testing.T) {
	for _, c := range []struct{ in, sqlite, postgres string }{
		{`SELECT a FROM t WHERE d = $0 AND b = $1`,
			`SELECT a FROM t WHERE d = ?2 AND b = ?1`, `SELECT a FROM t WHERE d = $2 AND b = $1`},
		{`SELECT $2, $1, $2`, `SELECT ?2, ?1, ?2`, `SELECT $2, $1, $2`},
		{`SELECT 1`, `SELECT 1`, `SELECT 1`},
		{`… x in($1) AND y IN ( $2 )`, `… x IN (SELECT value FROM json_each(?1)) AND y IN (SELECT value FROM json_each(?2))`,
			`… x = ANY($1) AND y = ANY($2)`},
		{"… x NOT\n\tIN ($1)", `… x NOT IN (SELECT value FROM json_each(?1))`, `… x <> ALL($1)`},
		{`… x IN ($1, $2)`, `… x IN (?1, ?2)`, `… x IN ($1, $2)`},
		{`… min($1) + x_in($2)`, `… min(?1) + x_in(?2)`, `… min($1) + x_in($2)`},
		{`… '$1 '' in($2)' "$3" -- $4 ?` + "\n/* $5 */ $1", `… '$1 '' in($2)' "$3" -- $4 ?` + "\n/* $5 */ ?1",
			`… '$1 '' in($2)' "$3" -- $4 ?` + "\n/* $5 */ $1"},
		{`INSERT INTO t VALUES ($1)`, `INSERT INTO t VALUES (?1)`, `INSERT INTO t VALUES ($1)`},
		{`… fin ($1)`, `… fin (?1)`, `… fin ($1)`},
		{`SELECT 1 -- end`, `SELECT 1 -- end`, `SELECT 1 -- end`},
	} {
		for d, want := range map[dialect]string{sqlite: c.sqlite, postgres: c.postgres} {
			got, err := rewrite(c.in, d)
			if err != nil {
				t.Errorf("%s: %v", c.in, err)
			} else if got.sql != want {
				t.Errorf("%s\n got %s\nwant %s", c.in, got.sql, want)
			}
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	for q, want := range map[string]string{
		`SELECT $2`:                     "$1 is not used",
		`SELECT $1 WHERE x in($1)`:      "a list and a single value",
		`SELECT 'x`:                     "not closed",
		`SELECT /* x`:                   "not closed",
		`SELECT ?`:                      "not ?",
		`SELECT $`:                      "bad parameter",
		`SELECT $x`:                     "bad parameter",
		`SELECT $1x`:                    "bad parameter",
		`SELECT $12345`:                 "bad parameter",
		`SELECT $1000`:                  "bad parameter",
		`SELECT 1 WHERE x in($0)`:       "no list",
		`SELECT $$body$$`:               "bad parameter",
		`SELECT 1 WHERE x NOT IN ( $0)`: "no list",
	} {
		if _, err := rewrite(q, sqlite); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", q, err, want)
		}
	}
}

func TestReads(t *testing.T) {
	for q, want := range map[string]bool{"\n\tselect 1": true, "INSERT INTO x DEFAULT VALUES RETURNING y": false, "WITH x AS (DELETE FROM y) SELECT 1": false} {
		if got, err := rewrite(q, sqlite); err != nil || got.reads != want {
			t.Errorf("%s: %v, %v", q, got.reads, err)
		}
	}
}

var quoted = regexp.MustCompile(`(?s)'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/`)

// FuzzRewrite looks for statements whose quotes or comments are changed, or whose parameters are lost.
func FuzzRewrite(f *testing.F) {
	for _, s := range []string{`SELECT a FROM t WHERE d = $0 AND b in($1) OR c not in ( $2 )`, `'$1' "$2" -- $3`, `/*$1*/ $1`, `in($1`, `not in($1)`, `$0$1`, `in(in($1))`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, q string) {
		lite, err := rewrite(q, sqlite)
		pg, pgErr := rewrite(q, postgres)
		if (err == nil) != (pgErr == nil) {
			t.Fatalf("sqlite %v, postgres %v", err, pgErr)
		}
		if err != nil {
			return
		}
		if lite.args != pg.args || lite.domain != pg.domain || lite.reads != pg.reads {
			t.Errorf("%+v and %+v", lite, pg)
		}
		for _, out := range []string{lite.sql, pg.sql} {
			want, got := quoted.FindAllString(q, -1), quoted.FindAllString(out, -1)
			if strings.Join(want, "|") != strings.Join(got, "|") {
				t.Errorf("quoted text changed from %q to %q", want, got)
			}
		}
		if rest := quoted.ReplaceAllString(lite.sql, ""); strings.Contains(rest, "$") {
			t.Errorf("a parameter is left in %q", lite.sql)
		}
	})
}
