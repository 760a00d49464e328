package konsil_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// floors is the house plan: a package imports lower floors only, never its own. The longest matching folder counts.
// Inside a ground folder or a small house (loose), packages may import each other; the compiler keeps that free of circles.
var floors = []struct {
	folder string
	floor  int
	loose  bool
}{
	{"cmd", 9, true}, {"test", 9, true},
	{"homeserver", 8, false},
	{"homeserver/csapi", 7, false}, {"homeserver/ssapi", 7, false}, {"homeserver/adminapi", 7, false},
	{"homeserver/clientsync", 6, false}, {"homeserver/federation", 6, false}, {"homeserver/push", 6, false}, {"homeserver/search", 6, false}, {"homeserver/appservice", 6, false},
	{"homeserver/e2ee", 5, false}, {"homeserver/ephemeral", 5, false}, {"homeserver/notice", 5, false}, {"homeserver/delayed", 5, false}, {"homeserver/preview", 5, false}, {"homeserver/report", 5, false},
	{"homeserver/room", 4, false}, {"homeserver/account", 4, false}, {"homeserver/media", 4, false},
	{"homeserver/store", 3, true}, {"homeserver/notify", 3, false},
	{"homeserver/room/resolve", 3, true}, {"homeserver/room/auth", 2, true}, {"homeserver/room/dag", 2, true},
	{"client", 2, true},
	{"ti", 1, true}, {"oidc", 1, true},
	{"kit", 0, true}, {"matrix", 0, true}, {"fhir", 0, true}, {"jose", 0, true}, {"olm", 0, true},
}

// pure packages are functions from values to values: they may not reach clock, disk, network or database.
var pure = []string{"matrix", "ti", "fhir", "homeserver/room/auth", "homeserver/room/resolve", "homeserver/room/dag"}

var impure = map[string]bool{"net/http": true, "database/sql": true, "os": true}

// sqlText recognises statements, which belong into packages named store and into kit/db.
var sqlText = regexp.MustCompile(`(?s)^\s*(SELECT\s.+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+TABLE\s)`)

type source struct {
	folder string // relative to the module, slashes
	file   *ast.File
	fset   *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			own := p != "." && exists(filepath.Join(p, "go.mod"))
			if own || name == "testdata" || name == "node_modules" || (strings.HasPrefix(name, ".") && p != ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path.Dir(filepath.ToSlash(p)), f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func exists(name string) bool {
	m, err := filepath.Glob(name)
	return err == nil && len(m) > 0
}

// place finds the row of a folder; ok is false for a folder on no floor.
func place(folder string) (row int, ok bool) {
	best := -1
	for i, f := range floors {
		if (folder == f.folder || strings.HasPrefix(folder, f.folder+"/")) &&
			(best < 0 || len(f.folder) > len(floors[best].folder)) {
			best = i
		}
	}
	return best, best >= 0
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		from, ok := place(s.folder)
		if !ok {
			t.Errorf("%s stands on no floor: find its place in style.md section 2 and add it here", s.folder)
			continue
		}
		for _, imp := range s.file.Imports {
			target, err := strconv.Unquote(imp.Path.Value)
			if err != nil || !strings.HasPrefix(target, "konsil/") {
				continue
			}
			folder := strings.TrimPrefix(target, "konsil/")
			to, ok := place(folder)
			switch {
			case !ok:
				t.Errorf("%s imports %s, which stands on no floor", s.folder, folder)
			case strings.HasPrefix(s.folder, folder+"/") && !floors[from].loose:
				t.Errorf("%s imports its parent %s: a child is its parent's organ", s.folder, folder)
			case floors[to].folder == floors[from].folder && floors[from].loose:
			case strings.HasPrefix(folder, s.folder+"/"): // a parent uses its organs
			case floors[to].floor >= floors[from].floor && ground(from, to):
			case floors[to].floor >= floors[from].floor:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports point down", s.folder, floors[from].floor, folder, floors[to].floor)
			}
		}
	}
}

// ground says whether both rows are ground folders. kit is the workshop and knows no domain words; the others may use it.
func ground(from, to int) bool {
	return floors[from].floor == 0 && floors[to].floor == 0 && floors[from].folder != "kit" && floors[to].folder == "kit"
}

func TestPurePackagesStayPure(t *testing.T) {
	for _, s := range sources(t) {
		for _, p := range pure {
			if s.folder != p && !strings.HasPrefix(s.folder, p+"/") {
				continue
			}
			for _, imp := range s.file.Imports {
				if target, _ := strconv.Unquote(imp.Path.Value); impure[target] {
					t.Errorf("%s is pure and imports %s", s.folder, target)
				}
			}
			ast.Inspect(s.file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if x, isIdent := selBase(sel, ok); isIdent && x == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Sleep") {
					t.Errorf("%s is pure and calls time.%s", s.fset.Position(n.Pos()), sel.Sel.Name)
				}
				return true
			})
		}
	}
}

func selBase(sel *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	x, isIdent := sel.X.(*ast.Ident)
	if !isIdent {
		return "", false
	}
	return x.Name, true
}

func TestSQLStandsInStores(t *testing.T) {
	for _, s := range sources(t) {
		if path.Base(s.folder) == "store" || strings.HasPrefix(s.folder, "kit/db") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && sqlText.MatchString(text) {
					t.Errorf("%s: SQL stands in packages named store and in kit/db only", s.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		documented[s.folder] = documented[s.folder] || s.file.Doc != nil
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", folder)
		}
	}
}

func TestFoldersAreNotNestedDeeperThanAuth(t *testing.T) {
	for _, s := range sources(t) {
		if place, ok := place(s.folder); ok && floors[place].floor < 9 && strings.Count(s.folder, "/") > 2 {
			t.Errorf("%s is nested deeper than homeserver/room/auth", s.folder)
		}
	}
}

func TestOnlyCmdReadsTheEnvironment(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.folder, "cmd") || strings.HasPrefix(s.folder, "test") || strings.HasPrefix(s.folder, "kit/db/dbtest") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if x, isIdent := selBase(sel, ok); isIdent && x == "os" && (sel.Sel.Name == "Getenv" || sel.Sel.Name == "LookupEnv") {
				t.Errorf("%s: flags and environment are read in cmd/konsil", s.fset.Position(n.Pos()))
			}
			return true
		})
	}
}
