package dbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a PostgreSQL server of the tests: on a Unix socket in a temporary folder, and not durable.
type Server struct {
	URL  string
	stop io.Closer // its closing, also by the end of this process, ends the server and its folder
	cmd  *exec.Cmd
}

// ErrNoBinaries is a machine without PostgreSQL.
var ErrNoBinaries = errors.New("no binaries of PostgreSQL on this machine")

// Start runs a server. It lives until Stop, and no longer than this process.
func Start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kpg") // short: a socket's path has about 100 bytes
	if err != nil {
		return nil, err
	}
	s, err := start(bin, dir, owner)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return s, nil
}

// supervisor makes a cluster, runs the server until its input ends, and removes everything. A process of its own, for it must
// outlive a test process that is killed.
const supervisor = `
set -e
cd "$2"
"$1/initdb" -D data -U konsil -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
"$1/postgres" -D data -k "$2" -h "" -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	-c max_connections=200 -c shared_buffers=64MB -c max_locks_per_transaction=1024 -c client_min_messages=warning >server.log 2>&1 </dev/null &
pid=$!
trap 'while kill -QUIT $pid 2>/dev/null; do sleep 0.1; done; cd /; rm -rf "$2"' EXIT
trap '' INT TERM HUP
cat >/dev/null || true
`

func start(bin, dir string, owner *syscall.Credential) (*Server, error) {
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("/bin/sh", "-c", supervisor, "sh", bin, dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true} // no Ctrl-C before the tests are through
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stop, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{stop: stop, cmd: cmd, URL: "postgres://konsil@/postgres?sslmode=disable&host=" + url.QueryEscape(dir)}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	if err := s.ready(gone); err != nil {
		_ = stop.Close()
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return s, nil
}

// ready waits until the server answers.
func (s *Server) ready(gone <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgconn.Connect(ctx, s.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case err := <-gone:
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() error {
	err := s.stop.Close()
	deadline := time.Now().Add(10 * time.Second)
	for s.cmd.Process.Signal(syscall.Signal(0)) == nil && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond) // the supervisor cleans up
	}
	return err
}

func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrNoBinaries
}

// unprivileged is the user to run the server as when we are root, which initdb refuses.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("initdb refuses root, and there is no user postgres or nobody")
}
