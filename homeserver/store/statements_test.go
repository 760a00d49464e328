package store_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"konsil/homeserver/store"
	"konsil/kit/db"
)

// statement is one SQL text of this package, and where it stands.
type statement struct {
	sql  string
	at   string
	name string // of the function around it
}

var verb = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s`)

// statements reads every SQL text of the package out of its source. A text may be put together from constants; anything else
// would be a statement that nobody can read beforehand, and fails the test.
func statements(t *testing.T) []statement {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	fragments := constants{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
		ast.Inspect(f, fragments.collect)
	}
	var all []statement
	for _, f := range parsed {
		for _, d := range f.Decls {
			all = append(all, inside(t, fset, d, fragments)...)
		}
	}
	return all
}

// inside lists the statements of a declaration.
func inside(t *testing.T, fset *token.FileSet, decl ast.Decl, fragments constants) (all []statement) {
	name := ""
	if f, ok := decl.(*ast.FuncDecl); ok {
		name = f.Name.Name
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
			return false // fragments; where they are used they are read
		}
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		text, isText, constant := fragments.fold(e)
		if !isText || !verb.MatchString(text) {
			return !isText
		}
		at := fset.Position(e.Pos())
		if !constant {
			t.Errorf("%s: a statement is glued together from what is no constant: %s", at, text)
		}
		all = append(all, statement{text, at.String(), name})
		return false
	})
	return all
}

// constants are the string constants of the package by name.
type constants map[string]ast.Expr

func (c constants) collect(n ast.Node) bool {
	d, ok := n.(*ast.GenDecl)
	if !ok || d.Tok != token.CONST {
		return true
	}
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, name := range v.Names {
			if i < len(v.Values) {
				c[name.Name] = v.Values[i]
			}
		}
	}
	return true
}

// fold computes a string expression. isText is false for what is none; constant is false if some part could not be known.
func (c constants) fold(e ast.Expr) (text string, isText, constant bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, e.Kind == token.STRING && err == nil, true
	case *ast.Ident:
		if v, ok := c[e.Name]; ok {
			return c.fold(v)
		}
	case *ast.BinaryExpr:
		left, leftText, leftConst := c.fold(e.X)
		right, rightText, rightConst := c.fold(e.Y)
		if e.Op == token.ADD && (leftText || rightText) {
			return left + right, true, leftText && rightText && leftConst && rightConst
		}
	}
	return "", false, false
}

var created = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)

// tables are those that the migrations make, the registry's among them.
func tables(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range []string{"migrations/*.sql", "registry/*.sql"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range created.FindAllStringSubmatch(string(raw), -1) {
				names[m[1]] = true
			}
		}
	}
	return names
}

// use is one place in a statement that names a table.
type use struct{ how, table, alias string }

var (
	tableUse = regexp.MustCompile(`\b(FROM|JOIN|INTO|UPDATE)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?`)
	keyword  = regexp.MustCompile(`^[A-Z]+$`)
)

func uses(sql string, known map[string]bool) (all []use) {
	for _, m := range tableUse.FindAllStringSubmatch(sql, -1) {
		if !known[m[2]] {
			continue
		}
		u := use{m[1], m[2], m[3]}
		if keyword.MatchString(u.alias) {
			u.alias = ""
		}
		all = append(all, u)
	}
	return all
}

// TestStatementsStayInTheirDomain reads every statement and asks of each table it names that $0 picks the rows: this is what
// keeps one organisation from another (docs/decisions/0002).
func TestStatementsStayInTheirDomain(t *testing.T) {
	known, used := tables(t), map[string]bool{}
	all := statements(t)
	if len(all) < 200 {
		t.Fatalf("%d statements found: the test does not see them any more", len(all))
	}
	for _, s := range all {
		bare := 0 // uses without another name: each needs a condition of its own
		for _, u := range uses(s.sql, known) {
			used[u.table] = true
			switch {
			case u.how == "INTO":
				if !regexp.MustCompile(`INTO ` + u.table + `( AS \w+)?\s*\(\s*domain_id,[^)]*\)\s*(VALUES\s*\(|SELECT( DISTINCT)?)\s*\$0,`).MatchString(s.sql) {
					t.Errorf("%s: a row of %s gets no $0:\n%s", s.at, u.table, s.sql)
				}
			case u.alias != "":
				if !regexp.MustCompile(`\b` + u.alias + `\.domain_id = (\$0|\w+\.domain_id)`).MatchString(s.sql) {
					t.Errorf("%s: %s %s is not bound to $0:\n%s", s.at, u.how, u.table, s.sql)
				}
			default:
				bare++
			}
		}
		if conditions := regexp.MustCompile(`(^|[^.\w])domain_id = \$0`).FindAllString(s.sql, -1); len(conditions) < bare {
			t.Errorf("%s: %d tables and %d conditions on $0:\n%s", s.at, bare, len(conditions), s.sql)
		}
	}
	for table := range known {
		if !used[table] {
			t.Errorf("no statement uses the table %s", table)
		}
	}
}

// walks are the methods that may read all rows a domain has in a table, with the reason.
var walks = map[string]string{
	"lastNID":             "one row of each table: the greatest number, when a domain wakes",
	"FederationCursor":    "one row",
	"UnreadCursor":        "one row",
	"SearchCursor":        "one row",
	"AppServiceCursor":    "a row for each application service",
	"RedactionsWait":      "one row: whether there is any",
	"Relays":              "few rows, when a domain wakes",
	"FailingDestinations": "a row for each server that cannot be reached, when a domain wakes",
	"QueuedServers":       "what waits for these servers, when a domain wakes",
	"WaitingPushers":      "what waits for gateways that cannot be reached, when a domain wakes",
	"AllPushers":          "all are held in memory, when a domain wakes",
	"ActivePresences":     "who was online, when a domain wakes",
	"PublishedRooms":      "the directory itself",
	"SearchUsers":         "a directory looks at everybody; the rooms it walks through are those of the room directory",
	"DeleteOpenIDTokens":  "tokens live an hour, and few are made",
	"CollectSnapshots":    "by hand; nobody waits for it",
	"CountReports":        "an operator asks, now and then",
	"SnapshotSize":        "tests",
}

// walk finds the steps of a SQLite plan that read all rows of a domain, or of everybody.
var walk = regexp.MustCompile(`^(SEARCH .* \(domain_id=\?\)|SCAN \w+( USING .*)?)$`)

// TestPlans has the engines plan every statement: each must know all names and types, and on SQLite none may walk through a
// whole domain unless it is known to. PostgreSQL decides by the tables' sizes, so its plans for empty ones say nothing.
func TestPlans(t *testing.T) {
	all := statements(t)
	eachStore(t, func(t *testing.T, d *store.DB) {
		found := map[string]bool{}
		for _, s := range all {
			err := d.Read(t.Context(), func(tx *store.Tx) error {
				if other := others[tx.OnPostgres()]; other.MatchString(s.sql) {
					return nil
				}
				if tx.OnPostgres() {
					return explain(t.Context(), tx, "EXPLAIN ", s.sql, func(row *db.Row) error { return nil })
				}
				return explain(t.Context(), tx, "EXPLAIN QUERY PLAN ", s.sql, func(row *db.Row) error {
					var step, parent, unused int64
					var detail string
					err := row.Scan(&step, &parent, &unused, &detail)
					if walk.MatchString(detail) && !derived(s.sql, detail) {
						found[s.name] = true
						if walks[s.name] == "" {
							t.Errorf("%s: %s walks through all rows: %s", s.at, s.name, detail)
						}
					}
					return err
				})
			})
			if err != nil {
				t.Errorf("%s: %v", s.at, err)
			}
		}
		for name := range walks {
			if !found[name] && strings.HasSuffix(t.Name(), "sqlite") {
				t.Errorf("%s walks no more: take it off the list", name)
			}
		}
	})
}

// others recognises the statements that only the other engine understands: full-text search, and the registry, which is a file
// of its own on SQLite.
var others = map[bool]*regexp.Regexp{
	true:  regexp.MustCompile(`search_words`),
	false: regexp.MustCompile(`TSQUERY|TSVECTOR|\b(FROM|INTO|UPDATE) domain\b`),
}

// derived says whether a SCAN is of a subquery's few rows and not of a table.
func derived(sql, detail string) bool {
	name, ok := strings.CutPrefix(detail, "SCAN ")
	return ok && regexp.MustCompile(`\) AS `+name+`\b`).MatchString(sql)
}

// params finds arguments, and of lists the column that they are compared with.
var params = regexp.MustCompile(`(?i)(?:(\w+)\s+(?:not\s+)?in\s*\(\s*)?\$(\d+)`)

// explain asks for the plan of a statement, without values.
func explain(ctx context.Context, tx *store.Tx, how, sql string, fn func(row *db.Row) error) error {
	var args []any
	for _, m := range params.FindAllStringSubmatch(sql, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return err
		}
		for len(args) < n {
			args = append(args, nil)
		}
		switch column := m[1]; {
		case n == 0 || column == "":
		case strings.HasSuffix(column, "_nid"), column == "membership", column == "field", column == "pos":
			args[n-1] = []int64{}
		default:
			args[n-1] = []string{}
		}
	}
	return db.Each(ctx, tx, how+sql, args, fn)
}
