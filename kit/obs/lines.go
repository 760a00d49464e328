package obs

import (
	"io"
	"sync"
	"time"
)

// Lines is a writer for logs that gathers lines which come close upon each other: a line on its own is written at once, those
// within the next moment together, so that a busy server does not ask the system for each. What is gathered is lost when the
// process is killed; whoever ends it flushes.
type Lines struct {
	w io.Writer

	mu      sync.Mutex
	held    []byte      // guarded by mu
	waiting bool        // the timer runs, guarded by mu
	timer   *time.Timer // guarded by mu
}

const (
	gather   = 50 * time.Millisecond
	maxLines = 64 << 10 // bytes held at most
)

// NewLines makes one around w, which is asked by one goroutine at a time.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// Write takes a line.
func (l *Lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waiting {
		l.wait()
		return l.w.Write(line)
	}
	if len(l.held)+len(line) > maxLines {
		l.flush()
	}
	l.held = append(l.held, line...)
	return len(line), nil
}

// wait needs mu.
func (l *Lines) wait() {
	l.waiting = true
	if l.timer == nil {
		l.timer = time.AfterFunc(gather, l.due)
		return
	}
	l.timer.Reset(gather)
}

// due writes what has come within the moment; if that was something, more will come.
func (l *Lines) due() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	if len(l.held) > 0 {
		l.flush()
		l.wait()
	}
}

// Flush writes what is held.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

// flush needs mu.
func (l *Lines) flush() {
	if len(l.held) > 0 {
		_, _ = l.w.Write(l.held) // a log that cannot be written is no reason to stop
		l.held = l.held[:0]
	}
}
