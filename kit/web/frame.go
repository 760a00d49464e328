package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"konsil/kit/obs"
)

// Frame stands around a whole API: it writes one log line for each request, turns panics into answers and counts what is
// under way. Lines name the route, never the path: ids and queries are persons' data.
type Frame struct {
	Log      *slog.Logger // nil means slog.Default()
	Internal Refusal      // what the client hears of an error of ours; nil means a plain 500
	// Observe, if set, is told of each request: for metrics.
	Observe func(method, route string, status int, took time.Duration, bytes int64)

	inFlight atomic.Int64
}

// InFlight is how many requests are under way.
func (f *Frame) InFlight() int64 { return f.inFlight.Load() }

// record is what is noted of a request on its way.
type record struct {
	http.ResponseWriter
	frame   *Frame
	control *http.ResponseController
	pattern string
	status  int
	bytes   int64
	failed  error // of ours
}

type recordKey struct{}

func recordOf(r *http.Request) *record {
	rec, _ := r.Context().Value(recordKey{}).(*record)
	return rec
}

// Wrap gives the handler its frame.
func (f *Frame) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.inFlight.Add(1)
		begun := time.Now()
		rec := &record{ResponseWriter: w, frame: f, control: http.NewResponseController(w)}
		r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
		defer func() {
			f.inFlight.Add(-1)
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { // a handler's way to cut the connection
					panic(p)
				}
				err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				if rec.status == 0 {
					respondError(rec, r, err)
				}
				rec.failed = err
			}
			f.log(r, rec, time.Since(begun))
		}()
		next.ServeHTTP(rec, r)
	})
}

func (f *Frame) log(r *http.Request, rec *record, took time.Duration) {
	if rec.status == 0 {
		rec.status = http.StatusOK // net/http writes it when the handler wrote nothing
	}
	route := rec.pattern
	if route == "" {
		route = "none"
	}
	if f.Observe != nil {
		f.Observe(r.Method, route, rec.status, took, rec.bytes)
	}
	log := f.Log
	if log == nil {
		log = slog.Default()
	}
	level := slog.LevelInfo
	if rec.failed != nil {
		level = slog.LevelError
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := [6]slog.Attr{slog.String(obs.KeyMethod, method(r.Method)), slog.String(obs.KeyRoute, route), slog.Int(obs.KeyStatus, rec.status),
		slog.Float64(obs.KeyMillis, float64(took.Microseconds())/1000), slog.Int64(obs.KeyBytes, rec.bytes)}
	n := 5
	if rec.failed != nil {
		attrs[n], n = slog.Any(obs.KeyError, rec.failed), n+1
	}
	line := slog.NewRecord(time.Now(), level, "request", 0) // LogAttrs would look for the caller, which is always here
	line.AddAttrs(attrs[:n]...)
	_ = log.Handler().Handle(r.Context(), line) // a log that cannot be written is no reason to fail
}

// method keeps what clients invent out of the logs.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH":
		return m
	}
	return "other"
}

func (rec *record) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *record) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(b)
	rec.bytes += int64(n)
	return n, err
}

// ReadFrom lets files go from disk to socket without passing through the program.
func (rec *record) ReadFrom(src io.Reader) (int64, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := io.Copy(rec.ResponseWriter, src)
	rec.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (rec *record) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// BodyTime bounds the time for reading the rest of a request's body; without a Frame around it does nothing. Whoever has read
// the body lifts the bound; after an error it stays, for net/http reads on before it answers.
func BodyTime(r *http.Request, d time.Duration) (lift func()) {
	rec := recordOf(r)
	if rec == nil || rec.control.SetReadDeadline(time.Now().Add(d)) != nil {
		return func() {}
	}
	return func() { _ = rec.control.SetReadDeadline(time.Time{}) }
}

// Gzip compresses JSON answers above minSize bytes for clients that ask for it. Below some KiB it costs more than it gives.
func Gzip(next http.Handler, minSize int) (http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(minSize), gzhttp.CompressionLevel(1),
		gzhttp.ContentTypes([]string{"application/json"}))
	if err != nil {
		return nil, errors.New("gzip: " + err.Error())
	}
	return wrap(next), nil
}
