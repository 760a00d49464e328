package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"konsil/kit/db/dbtest"
)

// postgres is a PostgreSQL of the run's own. It is set as the tests have it, without fsync: that changes waiting, not work.
type postgres struct {
	*dbtest.Server
	dir string
	pid int
}

func (b *bench) startPostgres() (*postgres, error) {
	server, err := dbtest.Start()
	if err != nil {
		return nil, err
	}
	p := &postgres{Server: server}
	at, err := url.Parse(server.URL)
	if err != nil {
		return nil, err
	}
	p.dir = at.Query().Get("host")
	raw, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	if p.pid, err = strconv.Atoi(strings.TrimSpace(first)); err != nil {
		return nil, fmt.Errorf("read postmaster.pid: %w", err)
	}
	return p, nil
}

func (p *postgres) stop() { _ = p.Server.Stop() }

// checkpoint writes everything to its files, so that their sizes can be counted.
func (p *postgres) checkpoint() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, p.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CHECKPOINT").ReadAll()
	return err
}
