package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take before a test gives up. It is not a budget: those are tested where they stand.
const patience = 30 * time.Second

// Process is a running program. What it prints is shown when its test fails.
type Process struct {
	cmd    *exec.Cmd
	output *record
	began  time.Time
	done   chan struct{} // closed once it has ended and code is set
	code   int
}

// Exit is how a process ended.
type Exit struct {
	Code int // -1 after a signal that it did not handle
	Took time.Duration
}

// start runs the program. It is killed at the end of the test if it still runs then.
func start(tb testing.TB, env []string, args ...string) *Process {
	tb.Helper()
	p := &Process{cmd: exec.Command(Binary(tb), args...), output: newRecord(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.Env = append(os.Environ(), env...)
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start konsil: %v", err)
	}
	go func() { // ends with the process, which the cleanup below waits for
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		p.code = p.cmd.ProcessState.ExitCode()
		p.output.wake()
	}()
	tb.Cleanup(func() {
		p.Kill()
		p.output.complain(tb)
		if tb.Failed() {
			tb.Logf("konsil %s, process %d, printed:\n%s", strings.Join(args, " "), p.PID(), p.output.tail(60))
		}
	})
	return p
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is all that the process has printed.
func (p *Process) Output() string { return p.output.text() }

// Kill ends the process at once, as a power cut would. It is no error if it has ended already.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails when it has ended, which is what was wanted
	<-p.done
}

// Terminate asks the process to stop, as a service manager does, and waits until it has.
func (p *Process) Terminate(tb testing.TB) Exit {
	tb.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatalf("send SIGTERM: %v", err)
	}
	return p.wait(tb, began)
}

// Wait waits until the process ends by itself.
func (p *Process) Wait(tb testing.TB) Exit {
	tb.Helper()
	return p.wait(tb, p.began)
}

func (p *Process) wait(tb testing.TB, began time.Time) Exit {
	tb.Helper()
	select {
	case <-p.done:
		return Exit{Code: p.code, Took: time.Since(began)}
	case <-time.After(patience):
		p.Kill()
		tb.Fatalf("konsil did not end within %s", patience)
		return Exit{}
	}
}

// until waits until ready says yes, asking again whenever the process prints something.
func (p *Process) until(what string, ready func() bool) error {
	timeout := time.After(patience)
	for {
		news := p.output.news()
		if ready() {
			return nil
		}
		select {
		case <-news:
		case <-p.done:
			if ready() {
				return nil
			}
			return fmt.Errorf("konsil ended with code %d before it was %s:\n%s", p.code, what, p.output.tail(20))
		case <-timeout:
			return errors.New("konsil was not " + what + " within " + patience.String())
		}
	}
}

// record keeps what a process prints and tells who waits that there is more.
type record struct {
	mu   sync.Mutex
	buf  bytes.Buffer  // guarded by mu
	more chan struct{} // guarded by mu; closed at the next write
}

func newRecord() *record { return &record{more: make(chan struct{})} }

// Write keeps what was printed.
func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.more)
	r.more = make(chan struct{})
	return r.buf.Write(b)
}

func (r *record) wake() { _, _ = r.Write(nil) }

func (r *record) news() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.more
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// complain fails the test for what a healthy program never prints, whatever the test was about.
func (r *record) complain(tb testing.TB) {
	for line := range strings.Lines(r.text()) {
		for _, sign := range []string{"level=ERROR", "WARNING: DATA RACE", "panic: ", "fatal error: "} {
			if strings.Contains(line, sign) {
				tb.Errorf("konsil printed: %s", line)
			}
		}
	}
}

func (r *record) tail(lines int) string {
	all := strings.Split(strings.TrimRight(r.text(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
