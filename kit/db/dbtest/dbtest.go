// Package dbtest gives tests a fresh database on each engine: a file of SQLite, and a schema of its own on a PostgreSQL
// server that is there already (KONSIL_TEST_POSTGRES) or is started for the test process. It is safe for parallel tests.
package dbtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Env names the server to use: a URL of a database in which the tests may make schemas.
const Env = "KONSIL_TEST_POSTGRES"

// Each runs a test on SQLite and, where a server is there, on PostgreSQL. url names a fresh, empty database.
func Each(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}

// EachBench is Each for benchmarks.
func EachBench(b *testing.B, fn func(b *testing.B, url string)) {
	b.Helper()
	b.Run("sqlite", func(b *testing.B) { fn(b, SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { fn(b, Postgres(b)) })
}

// SQLite is the URL of a fresh file.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// shared is the server of this test process.
var shared = sync.OnceValues(func() (string, error) {
	if base := os.Getenv(Env); base != "" {
		return base, nil
	}
	server, err := Start()
	if err != nil {
		return "", err
	}
	return server.URL, nil // it stops when this process ends
})

// Postgres is the URL of a fresh schema. Without a server the test is skipped.
func Postgres(t testing.TB) string {
	t.Helper()
	base, err := shared()
	if err != nil {
		t.Skipf("no PostgreSQL: %v", err)
	}
	name := make([]byte, 8)
	_, _ = rand.Read(name)
	schema := "t_" + hex.EncodeToString(name)
	run(t, base, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { run(t, base, "SET client_min_messages = warning; DROP SCHEMA "+schema+" CASCADE") })
	sep := "?"
	if strings.Contains(base, "?") {
		sep = "&"
	}
	return base + sep + "options=" + url.QueryEscape("-csearch_path="+schema)
}

func run(t testing.TB, base, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, base)
	if err != nil {
		t.Fatalf("connect to the test server: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, script).ReadAll(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}
