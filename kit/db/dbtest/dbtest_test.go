package dbtest_test

import (
	"errors"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"konsil/kit/db/dbtest"
)

func TestEachDatabaseIsFresh(t *testing.T) {
	for range 2 {
		dbURL := dbtest.Postgres(t)
		conn, err := pgconn.Connect(t.Context(), dbURL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), "CREATE TABLE thing (id BIGINT)").ReadAll(); err != nil {
			t.Error(err)
		}
	}
	if a, b := dbtest.SQLite(t), dbtest.SQLite(t); a == b {
		t.Errorf("%s twice", a)
	}
}

func TestAServerLeavesNothing(t *testing.T) {
	s, err := dbtest.Start()
	if errors.Is(err, dbtest.ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	if _, err := pgconn.Connect(t.Context(), s.URL); err == nil {
		t.Error("the server still answers")
	}
}
