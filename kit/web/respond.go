package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"konsil/kit/obs"
)

// Raw is ready JSON.
type Raw []byte

// Appender is a value that writes its own JSON: for answers that are mostly ready bytes.
type Appender interface{ AppendJSON(dst []byte) []byte }

// Stream is an answer that is not JSON. A Body that can seek answers range requests; a Body that is an io.Closer is closed.
type Stream struct {
	Status int         // 0 means 200
	Header http.Header // added to the answer's; with Content-Type
	Size   int64       // of Body; below 0 when unknown
	Body   io.Reader
}

// Refusal is an error that is an answer: with a status, a JSON body and, where it needs headers, SetHeader(http.Header).
type Refusal interface {
	error
	json.Marshaler
	HTTPStatus() int
}

// Respond writes value as JSON (an Appender, Raw and Stream as they are, a value with HTTPStatus() int with that status), or
// err: one with HTTPStatus() int and MarshalJSON as these say, any other as 500 and one log line, that of the Frame around.
func Respond(w http.ResponseWriter, r *http.Request, value any, err error) {
	if err != nil {
		respondError(w, r, err)
		return
	}
	status := http.StatusOK
	if s, ok := value.(interface{ HTTPStatus() int }); ok {
		status = s.HTTPStatus()
	}
	switch v := value.(type) {
	case Stream:
		v.serve(w, r)
	case *Stream:
		v.serve(w, r)
	case Raw:
		writeJSON(w, r, status, v)
	case nil:
		writeJSON(w, r, status, []byte("{}"))
	default:
		buf := answers.Get().(*bytes.Buffer)
		defer recycle(buf)
		if err := encode(buf, v); err != nil {
			respondError(w, r, err)
			return
		}
		writeJSON(w, r, status, buf.Bytes())
	}
}

// answers are buffers for encoded answers.
var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func recycle(buf *bytes.Buffer) {
	if buf.Cap() <= 256<<10 {
		buf.Reset()
		answers.Put(buf)
	}
}

func encode(buf *bytes.Buffer, v any) error {
	if a, ok := v.(Appender); ok {
		buf.Write(a.AppendJSON(buf.AvailableBuffer()))
		return nil
	}
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	buf.Truncate(buf.Len() - 1) // the newline
	return nil
}

func respondError(w http.ResponseWriter, r *http.Request, err error) {
	var known Refusal
	if !errors.As(err, &known) {
		known = unexpected(r, err)
	}
	if h, ok := known.(interface{ SetHeader(http.Header) }); ok {
		h.SetHeader(w.Header())
	}
	body, jsonErr := known.MarshalJSON()
	if jsonErr != nil {
		body = []byte(`{}`)
	}
	status := known.HTTPStatus()
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		status = http.StatusServiceUnavailable // the client went away and does not hear it, or the server does
	}
	writeJSON(w, r, status, body)
}

// unexpected notes an error of ours, and gives what the client hears of it: nothing.
func unexpected(r *http.Request, err error) Refusal {
	rec := recordOf(r)
	broke := !errors.Is(err, context.Canceled) || r.Context().Err() == nil
	if rec == nil {
		if broke {
			slog.Default().Error("request failed", obs.KeyMethod, method(r.Method), obs.KeyRoute, r.Pattern, obs.KeyError, err)
		}
		return internal{}
	}
	if broke {
		rec.failed = err
	}
	if rec.frame.Internal == nil {
		return internal{}
	}
	return rec.frame.Internal
}

// internal is what is said of an error of ours where nobody gave other words for it.
type internal struct{}

func (internal) Error() string                { return "internal error" }
func (internal) HTTPStatus() int              { return http.StatusInternalServerError }
func (internal) MarshalJSON() ([]byte, error) { return []byte(`{"error":"internal error"}`), nil }

func writeJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
	patience(w, int64(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may be gone; the server notices itself
	}
}

// Header values that are the same for all answers.
var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"} // answers are for one person
)

// slowest is how fast a client must read, in bytes per second, or it loses its connection (B1).
const slowest = 10 << 10

// patience sets the time a client may take to read size bytes.
func patience(w http.ResponseWriter, size int64) {
	wait := time.Hour
	if size >= 0 {
		wait = 60*time.Second + time.Duration(size/slowest)*time.Second
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait)) // a recorder has none
}

// direct is the writer that lies behind one that compresses. What can seek is a file, and goes to the socket without passing
// through the program.
func direct(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	rec := recordOf(r)
	if packed, ok := w.(*gzhttp.GzipResponseWriter); ok && rec != nil && packed.Unwrap() == http.ResponseWriter(rec) {
		return rec
	}
	return w
}

func (s *Stream) serve(w http.ResponseWriter, r *http.Request) {
	if c, ok := s.Body.(io.Closer); ok {
		defer func() { _ = c.Close() }()
	}
	h := w.Header()
	for k, v := range s.Header {
		h[k] = v
	}
	patience(w, s.Size)
	if seeker, ok := s.Body.(io.ReadSeeker); ok && (s.Status == 0 || s.Status == http.StatusOK) {
		http.ServeContent(direct(w, r), r, "", time.Time{}, seeker)
		return
	}
	if s.Size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(s.Size, 10))
	}
	status := s.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, s.Body)
	}
}
