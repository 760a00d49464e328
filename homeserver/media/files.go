package media

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"konsil/matrix/mxerr"
)

// save writes body to path: to a temporary file first, counted and flushed to disk, then under its name, then commit says
// so in the store. Nothing is left of what failed on the way.
func (r *Repository) save(path string, body io.Reader, commit func(size int64) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".upload-*")
	if errors.Is(err, os.ErrNotExist) { // the first file of this folder
		if err := makeDir(dir); err != nil {
			return err
		}
		tmp, err = os.CreateTemp(dir, ".upload-*")
	}
	if err != nil {
		return fmt.Errorf("make media file: %w", err)
	}
	keep := false
	defer func() {
		_ = tmp.Close()
		if !keep {
			_ = os.Remove(tmp.Name())
		}
	}()
	size, err := r.copy(tmp, body)
	if err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("flush media file: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("name media file: %w", err)
	}
	keep = true
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := commit(size); err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}

// copy counts while it writes; a size that somebody claims is worth nothing (B2).
func (r *Repository) copy(dst io.Writer, body io.Reader) (int64, error) {
	buf := pieces.Get().(*[pieceBytes]byte)
	defer pieces.Put(buf)
	// Only the Writer is shown: a file would copy by itself, in smaller pieces.
	size, err := io.CopyBuffer(struct{ io.Writer }{dst}, io.LimitReader(body, r.cfg.MaxUpload+1), buf[:])
	if err != nil {
		var refused *mxerr.Error
		if errors.As(err, &refused) {
			return 0, err
		}
		return 0, fmt.Errorf("receive media: %w", err)
	}
	if size > r.cfg.MaxUpload {
		return 0, mxerr.TooLarge("The file is larger than %d bytes", r.cfg.MaxUpload)
	}
	return size, nil
}

// pieceBytes is how much of a file is written at once: each piece is a call of the system.
const pieceBytes = 128 << 10

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// makeDir makes a folder whose name is on disk, too, when it returns.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make media folder: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open media folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("flush media folder: %w", err)
	}
	return nil
}

// arrivals wakes downloads that wait for an announced file.
type arrivals struct {
	mu      sync.Mutex
	waiting map[string]*arrival // by media ID, guarded by mu
}

type arrival struct {
	come    chan struct{}
	waiters int
}

// wait gives a channel that is closed when the file arrives; done must be called.
func (a *arrivals) wait(mediaID string) (come <-chan struct{}, done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string]*arrival{}
	}
	w := a.waiting[mediaID]
	if w == nil {
		w = &arrival{come: make(chan struct{})}
		a.waiting[mediaID] = w
	}
	w.waiters++
	return w.come, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.waiters--
		if w.waiters == 0 && a.waiting[mediaID] == w {
			delete(a.waiting, mediaID)
		}
	}
}

func (a *arrivals) tell(mediaID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.waiting[mediaID]; w != nil {
		close(w.come)
		delete(a.waiting, mediaID)
	}
}
