package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a running Konsil. Its output goes to a file, as a service manager would have it.
type server struct {
	name   string // the Matrix server name
	client string // base URL for clients
	admin  string // base URL of metrics and profiles
	dir    string
	began  time.Time

	cmd  *exec.Cmd
	args []string
	done chan struct{}
	pg   *postgres
	env  []string
}

// serve starts `konsil serve` on a fresh folder, with the flags of a test suite, and waits until it answers.
func (b *bench) serve(args ...string) (*server, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "server-")
	if err != nil {
		return nil, err
	}
	cert, key, err := b.certificate(dir)
	if err != nil {
		return nil, err
	}
	s := &server{name: fmt.Sprint("localhost:", ports[1]), client: "http://" + at(ports[0]), admin: "http://" + at(ports[2]), dir: filepath.Join(dir, "data")}
	s.env = []string{"SSL_CERT_FILE=" + b.ca.CertificateFile()}
	s.args = append([]string{"--log-level", b.logLevel, "serve", "--domain", s.name, "--data", s.dir,
		"--client-listen", at(ports[0]), "--federation-listen", at(ports[1]), "--tls-cert", cert, "--tls-key", key, "--admin", at(ports[2]),
		"--registration-secret", "load", "--open-registration", "--no-rate-limits", "--cheap-passwords", "--presence", "--device-names",
		"--allow-private-addresses"}, args...)
	if b.database == "postgres" {
		if s.pg, err = b.startPostgres(); err != nil {
			return nil, err
		}
		s.args = append(s.args, "--database", s.pg.URL)
	}
	if err := s.start(b); err != nil {
		return nil, err
	}
	return s, s.ready(b.ctx)
}

// start runs the program; the bench kills it at its end if nobody did before.
func (s *server) start(b *bench) error {
	out, err := os.OpenFile(s.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the child has it
	s.cmd = exec.Command(b.binary, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	s.done = done
	go func() { // ends with the process, which stop waits for
		_ = s.cmd.Wait()
		close(done)
	}()
	b.running = append(b.running, s)
	return nil
}

// ready waits until /versions answers.
func (s *server) ready(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := http.Get(s.client + "/_matrix/client/versions"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return fmt.Errorf("the server ended before it was ready:\n%s", tail(s.dir+".log"))
		}
	}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the server as a service manager does, and kills it when it takes too long.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended, which is what was wanted
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// restart starts a stopped server again, on the same folder and ports.
func (s *server) restart(b *bench) error {
	if err := s.start(b); err != nil {
		return err
	}
	return s.ready(b.ctx)
}

// end stops the server and its database, for good.
func (s *server) end() {
	s.stop()
	if s.pg != nil {
		s.pg.stop()
	}
}

// cpu is what server and database have used.
func (s *server) cpu() (time.Duration, error) {
	used, err := cpuOf(s.pid())
	if err != nil || s.pg == nil {
		return used, err
	}
	more, err := familyCPU(s.pg.pid)
	return used + more, err
}

// memory is what the process holds in RAM and what of it is Go's heap in use, after a collection.
type memory struct{ resident, heap int64 }

var heapInUse = regexp.MustCompile(`(?m)^# HeapInuse = (\d+)$`)

func (s *server) memory(ctx context.Context) (memory, error) {
	var m memory
	var text []byte
	for range 2 { // what a finaliser lets go is free after the second collection
		var err error
		if text, err = get(ctx, s.admin+"/debug/pprof/heap?gc=1&debug=1"); err != nil {
			return m, err
		}
	}
	if found := heapInUse.FindSubmatch(text); found != nil {
		m.heap, _ = strconv.ParseInt(string(found[1]), 10, 64)
	}
	var err error
	m.resident, err = residentBytes(s.pid())
	return m, err
}

// diskBytes is what the data takes on disk. The server must have stopped: what lies in write-ahead logs is folded in then.
func (s *server) diskBytes() (int64, error) {
	dirs := []string{s.dir}
	if s.pg != nil {
		if err := s.pg.checkpoint(); err != nil {
			return 0, err
		}
		dirs = append(dirs, filepath.Join(s.pg.dir, "data", "base"))
	}
	var sum int64
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, os.ErrNotExist) {
				return nil // a temporary file that is gone
			}
			if err == nil {
				sum += info.Size()
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return body, err
}

// at is an address on loopback.
func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts finds ports that are free now, all different.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all at the end: none is given twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tail is the end of a log, for errors.
func tail(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	var lines []string
	for scan := bufio.NewScanner(f); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
