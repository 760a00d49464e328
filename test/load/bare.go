package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// bareVerb makes this program a server that does nothing: what an empty request costs on this machine now is the unit to read
// the small figures by. The machine of the budgets takes 0.03 ms for it; one with other work, three times that.
const bareVerb = "bare"

func bare(ctx context.Context, addr string) error {
	server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`)) // who is gone needs none
	})}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// machine measures the bare server.
func (b *bench) machine() error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr := at(ports[0])
	s := &server{client: "http://" + addr, dir: filepath.Join(b.dir, "bare"), done: make(chan struct{})}
	s.cmd = exec.Command(self, bareVerb, addr)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() { // ends with the process, which stop waits for
		_ = s.cmd.Wait()
		close(s.done)
	}()
	b.running = append(b.running, s)
	if err := s.ready(b.ctx); err != nil {
		return err
	}
	u := &user{base: s.client, http: connections(), ctx: b.ctx, token: "as long as an access token is usually"}
	time.Sleep(10 * time.Millisecond)
	return b.cost(s, load{name: "bare request", ops: b.scale(2000), note: "net/http alone, on this machine", op: func(_, _ int) error {
		_, err := u.call("GET", v3("account", "whoami"), nil)
		return err
	}})
}
