package ssclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// serveLocally hands a request to a handler of this process: no sockets, but headers, signatures and checks are what they
// would be over the network. The answer streams through a pipe, so that a large room costs no more memory than over TLS.
// The goroutine belongs to the request: it ends with the handler, at the latest when the answer's body is closed or the
// request's context ends.
func serveLocally(handler http.Handler, out *http.Request) (*http.Response, error) {
	uri, err := url.ParseRequestURI(out.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	in := out.Clone(stranger{out.Context()})
	in.URL, in.RequestURI = uri, out.URL.RequestURI()
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr = "local"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	w := &localWriter{header: http.Header{}, body: writer, started: make(chan struct{})}
	go func() {
		defer func() {
			// A panic must not take the process down, where net/http would have caught it on a connection.
			if p := recover(); p != nil {
				w.fail(fmt.Errorf("handler: %v", p))
				return
			}
			w.WriteHeader(http.StatusOK)
			writer.Close()
		}()
		handler.ServeHTTP(w, in)
	}()
	select {
	case <-w.started:
	case <-out.Context().Done():
		reader.CloseWithError(out.Context().Err())
		return nil, out.Context().Err()
	}
	if w.err != nil {
		return nil, w.err
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: in.Proto, ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: reader, ContentLength: -1, Request: out,
	}, nil
}

// stranger is a context that ends with the caller's and knows nothing of it: what the caller's own request carries along
// (its log line, for one) is none of the other domain's business.
type stranger struct{ context.Context }

func (stranger) Value(any) any { return nil }

// localWriter is the handler's side of the pipe.
type localWriter struct {
	header  http.Header
	body    *io.PipeWriter
	once    sync.Once
	started chan struct{} // closed when status and header stand, or with err

	sent   http.Header // the header as it was when the status was written; read after started
	status int         // read after started
	err    error       // read after started
}

func (w *localWriter) Header() http.Header { return w.header }

func (w *localWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		return // informational ones have no reader here
	}
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *localWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush has nothing to do: the pipe keeps nothing back.
func (w *localWriter) Flush() {}

func (w *localWriter) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.started)
	})
	w.body.CloseWithError(errors.Join(io.ErrUnexpectedEOF, err))
}
