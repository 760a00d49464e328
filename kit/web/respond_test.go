package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"konsil/kit/web"
)

// refused is an error of an API.
type refused struct {
	status int
	after  string
}

func (e refused) Error() string   { return "refused" }
func (e refused) HTTPStatus() int { return e.status }
func (e refused) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"errcode":"M_%d"}`, e.status), nil
}
func (e refused) SetHeader(h http.Header) {
	if e.after != "" {
		h.Set("Retry-After", e.after)
	}
}

type created struct {
	ID string `json:"id"`
}

func (created) HTTPStatus() int { return 201 }

type appended struct{ n int }

func (a appended) AppendJSON(dst []byte) []byte { return fmt.Appendf(dst, `{"n":%d}`, a.n) }

func respond(t *testing.T, method string, value any, err error) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	web.Respond(w, httptest.NewRequest(method, "/", nil), value, err)
	return w
}

func TestRespond(t *testing.T) {
	for name, c := range map[string]struct {
		value  any
		err    error
		status int
		body   string
	}{
		"struct":   {struct{ A string }{"<ä>"}, nil, 200, `{"A":"<ä>"}`},
		"nothing":  {nil, nil, 200, `{}`},
		"raw":      {web.Raw(`{"a":1}`), nil, 200, `{"a":1}`},
		"appender": {appended{5}, nil, 200, `{"n":5}`},
		"status":   {created{"x"}, nil, 201, `{"id":"x"}`},
		"refusal":  {created{"x"}, fmt.Errorf("send: %w", refused{403, ""}), 403, `{"errcode":"M_403"}`},
		"ours":     {nil, errors.New("secret detail"), 500, `{"error":"internal error"}`},
		"no JSON":  {func() {}, nil, 500, `{"error":"internal error"}`},
	} {
		w := respond(t, "GET", c.value, c.err)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Content-Length") != fmt.Sprint(len(c.body)) {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
	if w := respond(t, "GET", nil, refused{429, "3"}); w.Header().Get("Retry-After") != "3" {
		t.Errorf("%v", w.Header())
	}
	if w := respond(t, "HEAD", web.Raw(`{"a":1}`), nil); w.Body.Len() != 0 || w.Header().Get("Content-Length") != "7" {
		t.Errorf("HEAD: %s %v", w.Body, w.Header())
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestStream(t *testing.T) {
	header := http.Header{"Content-Type": {"image/png"}, "X-Thing": {"1"}}
	src := &closer{Reader: strings.NewReader("0123456789")}
	w := respond(t, "GET", web.Stream{Header: header, Size: 10, Body: src}, nil)
	if w.Body.String() != "0123456789" || w.Header().Get("Content-Length") != "10" || w.Header().Get("X-Thing") != "1" || !src.closed {
		t.Errorf("%s %v", w.Body, w.Header())
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Range", "bytes=2-4")
	rec := httptest.NewRecorder()
	web.Respond(rec, r, &web.Stream{Header: header, Size: 10, Body: strings.NewReader("0123456789")}, nil)
	if rec.Code != 206 || rec.Body.String() != "234" || rec.Header().Get("Content-Type") != "image/png" {
		t.Errorf("%d %s %v", rec.Code, rec.Body, rec.Header())
	}
	w = respond(t, "GET", web.Stream{Status: 404, Size: -1, Body: strings.NewReader("gone")}, nil)
	if w.Code != 404 || w.Body.String() != "gone" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func framed(h http.HandlerFunc) (http.Handler, *bytes.Buffer, *web.Frame) {
	var out bytes.Buffer
	f := &web.Frame{Log: slog.New(slog.NewTextHandler(&out, nil)), Internal: refused{500, ""}}
	mux := web.NewMux([]web.Route{{Method: "GET", Path: "/rooms/{room}", Handler: h}}, status(404), status(405))
	return f.Wrap(mux), &out, f
}

func TestTheFrameLogsOneLineWithoutPersons(t *testing.T) {
	var seen string
	h, out, f := framed(func(w http.ResponseWriter, r *http.Request) {
		web.Respond(w, r, web.Raw(`{"a":1}`), nil)
	})
	f.Observe = func(method, route string, status int, _ time.Duration, bytes int64) {
		seen = fmt.Sprint(method, " ", route, " ", status, " ", bytes, " ", f.InFlight())
	}
	ask(h, "GET", "/rooms/%21secret:klinik.test?access_token=hidden")
	line := out.String()
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, `method=GET route=/rooms/{room} status=200`) || !strings.Contains(line, "bytes=7") {
		t.Error(line)
	}
	if strings.Contains(line, "secret") || strings.Contains(line, "hidden") {
		t.Errorf("a person's data: %s", line)
	}
	if seen != "GET /rooms/{room} 200 7 0" {
		t.Error(seen)
	}
	out.Reset()
	ask(h, "X-INVENTED", "/nowhere/secret")
	if line := out.String(); !strings.Contains(line, "method=other route=none status=404") || strings.Contains(line, "secret") {
		t.Error(line)
	}
}

func TestTheFrameTellsErrorsToTheLogOnly(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"error": func(w http.ResponseWriter, r *http.Request) { web.Respond(w, r, nil, errors.New("disk is full")) },
		"panic": func(http.ResponseWriter, *http.Request) { panic("disk is full") },
	} {
		framed, out, f := framed(h)
		code, body, _ := ask(framed, "GET", "/rooms/r")
		if code != 500 || body != `{"errcode":"M_500"}` {
			t.Errorf("%s: %d %s", name, code, body)
		}
		if line := out.String(); strings.Count(line, "level=ERROR") != 1 || !strings.Contains(line, "disk is full") {
			t.Errorf("%s: %s", name, line)
		}
		if f.InFlight() != 0 {
			t.Errorf("%s: still %d in flight", name, f.InFlight())
		}
	}
}

func TestAClientThatLeftIsNoError(t *testing.T) {
	h, out, _ := framed(func(w http.ResponseWriter, r *http.Request) {
		web.Respond(w, r, nil, fmt.Errorf("wait: %w", r.Context().Err()))
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest("GET", "/rooms/r", nil).WithContext(ctx)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if line := out.String(); !strings.Contains(line, "level=INFO") || !strings.Contains(line, "status=503") {
		t.Error(line)
	}
}

func TestGzip(t *testing.T) {
	large := web.Raw(`{"a":"` + strings.Repeat("x", 10_000) + `"}`)
	h, err := web.Gzip(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			web.Respond(w, r, web.Raw(`{}`), nil)
			return
		}
		web.Respond(w, r, large, nil)
	}), 4096)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	for path, want := range map[string]string{"/large": "gzip", "/small": ""} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+path, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := resp.Header.Get("Content-Encoding"); got != want || want != "" && len(body) > 1000 {
			t.Errorf("%s: %q, %d bytes", path, got, len(body))
		}
	}
}

func TestServerEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	srv := &web.Server{Grace: 2 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/poll" { // waits for news that never come
			close(entered)
			<-r.Context().Done()
			web.Respond(w, r, nil, r.Context().Err())
			return
		}
		web.Respond(w, r, nil, nil)
	})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	polled := make(chan int, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String() + "/poll")
		if err != nil {
			polled <- 0
			return
		}
		_ = resp.Body.Close()
		polled <- resp.StatusCode
	}()
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if code := <-polled; code != 503 {
		t.Errorf("the long poll got %d", code)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("still listens")
	}
}

func TestB01ATrickledBodyIsCutOff(t *testing.T) {
	var f web.Frame
	f.Log = slog.New(slog.DiscardHandler)
	srv := httptest.NewServer(f.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.BodyTime(r, 50*time.Millisecond)
		_, err := io.ReadAll(r.Body)
		web.Respond(w, r, nil, map[bool]error{true: refused{408, ""}}[err != nil])
	})))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 408" {
		t.Errorf("%s, %v", answer, err)
	}
}

func BenchmarkRespond(b *testing.B) {
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	v := struct {
		EventID string `json:"event_id"`
	}{"$abcdefghijklmnopqrstuvwxyz"}
	b.ReportAllocs()
	for b.Loop() {
		w.Body.Reset()
		web.Respond(w, r, v, nil)
	}
}
