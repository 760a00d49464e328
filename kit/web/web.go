// Package web is what every HTTP API of the program stands on: a mux that no path trick passes, binding of requests to
// structs, answers, logging and a server with deadlines. It knows no API and no error code: refusals come in as errors
// that carry their status and JSON.
package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// Route is one endpoint: a method, a pattern as net/http.ServeMux writes them, and who answers.
type Route struct {
	Method, Path string
	Handler      http.Handler
}

// Raw is ready JSON.
type Raw []byte

// Stream is an answer that is not JSON. A Body that can seek answers range requests; a Body that is an io.Closer is closed.
type Stream struct {
	Status int         // 0 means 200
	Header http.Header // added to the answer's; with Content-Type
	Size   int64       // of Body; below 0 when unknown
	Body   io.Reader
}

// BindKind says what is wrong with a request.
type BindKind int

// The kinds of BindError.
const (
	NotJSON      BindKind = iota + 1 // the body is no JSON
	BadJSON                          // JSON, but not what the endpoint takes
	TooLarge                         // more than the endpoint takes
	MissingParam                     // a required field is missing
	InvalidParam                     // a path or query value, or a text in the body, is not what it must be
)

// BindError is a request that Bind could not read.
type BindError struct {
	Kind  BindKind
	Field string // the name on the wire; may be empty
	Err   error  // the cause; may be nil
}

func (e *BindError) Error() string { return e.Field }
func (e *BindError) Unwrap() error { return e.Err }

// Bind reads a request into a struct. Fields are tagged `path:"roomId"`, `query:"limit"`, `json:"…"` (body) or
// `body:"raw"` (a json.RawMessage of the whole body); `,required` after the name refuses requests without it.
// max bounds the body in bytes.
func Bind[Req any](r *http.Request, max int64) (Req, error) {
	var req Req
	return req, errors.New("under construction")
}

// Respond writes value as JSON (Raw and Stream as they are, a value with HTTPStatus() int with that status), or err: one with
// HTTPStatus() int and MarshalJSON as these say, any other as 500 and one log line.
func Respond(w http.ResponseWriter, r *http.Request, value any, err error) {
	_ = json.NewEncoder(w).Encode(value)
}

// NewMux routes. unknown answers paths without a route, wrongMethod paths that have routes for other methods only.
func NewMux(routes []Route, unknown, wrongMethod http.Handler) http.Handler { return unknown }
