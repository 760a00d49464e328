package web

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"konsil/kit/limit"
)

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

// BindError is a request that Bind could not read. Those who know the API's error codes give it one.
type BindError struct {
	Kind  BindKind
	Field string // the name on the wire; may be empty
	Err   error  // the cause; may be nil
}

func (e *BindError) Error() string {
	what := map[BindKind]string{NotJSON: "body is not JSON", BadJSON: "body does not fit", TooLarge: "body is too large",
		MissingParam: "missing", InvalidParam: "invalid"}[e.Kind]
	if e.Field != "" {
		what = e.Field + ": " + what
	}
	if e.Err != nil {
		what += ": " + e.Err.Error()
	}
	return what
}

func (e *BindError) Unwrap() error { return e.Err }

// bodyTime is how long a client may take to send a JSON body (B1).
const bodyTime = 60 * time.Second

// Bind reads a request into a struct. Its fields are tagged
//
//	path:"roomId"   the parameter of the route
//	query:"limit"   the first value of the query; a slice takes all
//	json:"name"     a field of the body, which must be an object; an empty body counts as {}
//	body:"raw"      the whole body, in a json.RawMessage
//
// and may add bind:"required", which refuses a zero value. Values are strings, integers, bools, types with UnmarshalText,
// and pointers to these. Fields without such a tag stay as they are, whatever the body says; embedded structs count as
// their fields. max bounds the body in bytes. The error is a *BindError, or means that Req itself is wrong.
func Bind[Req any](r *http.Request, max int64) (Req, error) {
	var req Req
	p, err := planOf(reflect.TypeFor[Req]())
	if err != nil {
		return req, err
	}
	err = p.bind(r, max, reflect.ValueOf(&req).Elem(), &req)
	return req, err
}

func (p *plan) bind(r *http.Request, max int64, v reflect.Value, ptr any) error {
	if p.raw != nil || p.json {
		if err := p.bindBody(r, max, v, ptr); err != nil {
			return err
		}
	}
	for i := range p.path {
		f := &p.path[i]
		if err := f.set(v, r.PathValue(f.name)); err != nil {
			return &BindError{InvalidParam, f.name, err}
		}
	}
	if len(p.query) > 0 {
		if err := p.bindQuery(r.URL.RawQuery, v); err != nil {
			return err
		}
	}
	for i := range p.required {
		if f := &p.required[i]; v.FieldByIndex(f.index).IsZero() {
			return &BindError{Kind: MissingParam, Field: f.name}
		}
	}
	return nil
}

func (p *plan) bindQuery(query string, v reflect.Value) error {
	var seen uint64 // by field; a type with more than 64 query fields does not compile
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		i := p.queryField(key)
		if i < 0 {
			continue
		}
		f := &p.query[i]
		if f.element == nil && seen&(1<<i) != 0 {
			continue // the first one counts
		}
		seen |= 1 << i
		value, err := url.QueryUnescape(value)
		if err == nil {
			err = f.set(v, value)
		}
		if err != nil {
			return &BindError{InvalidParam, f.name, err}
		}
	}
	return nil
}

func (p *plan) queryField(key string) int {
	if strings.ContainsAny(key, "%+") {
		var err error
		if key, err = url.QueryUnescape(key); err != nil {
			return -1
		}
	}
	return slices.IndexFunc(p.query, func(f field) bool { return f.name == key })
}

// bodies are buffers for bodies that are not kept: decoding copies what it needs.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (p *plan) bindBody(r *http.Request, max int64, v reflect.Value, ptr any) error {
	buf := new(bytes.Buffer)
	if p.raw == nil {
		buf = bodies.Get().(*bytes.Buffer)
		defer func() {
			if buf.Cap() <= 64<<10 {
				buf.Reset()
				bodies.Put(buf)
			}
		}()
	}
	if err := readBody(r, max, buf); err != nil {
		return err
	}
	body := buf.Bytes()
	if len(bytes.TrimLeft(body, " \t\r\n")) == 0 {
		body = []byte("{}")
	}
	if err := p.decode(body, ptr); err != nil {
		return err
	}
	for _, index := range p.others { // a body cannot set what is not its own
		v.FieldByIndex(index).SetZero()
	}
	if p.raw != nil {
		v.FieldByIndex(p.raw.index).SetBytes(body)
	}
	return nil
}

// decode wants valid JSON, an object, not nested too deep.
func (p *plan) decode(body []byte, ptr any) error {
	if !utf8.Valid(body) { // encoding/json takes it, and puts something else in its place (A10)
		return &BindError{Kind: NotJSON, Err: errors.New("not UTF-8")}
	}
	if tooDeep(body) {
		return &BindError{Kind: BadJSON, Err: errors.New("nested too deep")}
	}
	isObject := bytes.TrimLeft(body, " \t\r\n")[0] == '{'
	if !isObject || !p.json {
		if !json.Valid(body) {
			return &BindError{Kind: NotJSON}
		}
		if !isObject {
			return &BindError{Kind: BadJSON, Err: errors.New("not an object")}
		}
		return nil
	}
	if err := json.Unmarshal(body, ptr); err != nil {
		return jsonError(err)
	}
	return nil
}

// readBody reads at most max bytes. Forms are refused unread: parsing them is where the memory goes (B3).
func readBody(r *http.Request, max int64, buf *bytes.Buffer) error {
	if ct := r.Header.Get("Content-Type"); len(ct) >= 10 && strings.EqualFold(ct[:10], "multipart/") {
		return &BindError{Kind: NotJSON, Err: errors.New("forms are not taken")}
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > max {
		return &BindError{Kind: TooLarge}
	}
	lift := BodyTime(r, bodyTime)
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, 64<<10)) + bytes.MinRead) // what it says is not what it sends
	}
	n, err := buf.ReadFrom(io.LimitReader(r.Body, max+1))
	switch {
	case err != nil:
		return &BindError{Kind: NotJSON, Err: fmt.Errorf("read body: %w", err)}
	case n > max:
		return &BindError{Kind: TooLarge}
	}
	lift()
	return nil
}

// tooDeep counts brackets outside of strings, before anything walks down into them.
func tooDeep(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit.JSONDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func jsonError(err error) error {
	var mismatch *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &mismatch):
		return &BindError{BadJSON, mismatch.Field, err}
	case errors.As(err, &syntax):
		return &BindError{NotJSON, "", err}
	}
	return &BindError{InvalidParam, "", err} // of an UnmarshalText or UnmarshalJSON
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
