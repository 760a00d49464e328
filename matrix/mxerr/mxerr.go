// Package mxerr holds the errors that Matrix's APIs define: a code, a sentence for people, an HTTP status and sometimes
// more fields. A refusal is made here, where its reason is known, and travels as an ordinary error to the edge, which
// writes it out. What went wrong inside the server is not an Error of this package. Values are not changed once made.
//
// CS v1.16 #standard-error-response
package mxerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// Error is a refusal with a code of the specification.
type Error struct {
	Status  int            // HTTP status it is answered with
	Code    string         // M_FORBIDDEN
	Message string         // for people; never holds secrets or content
	Extra   map[string]any // further fields of the answer, like retry_after_ms; may be nil
}

// New makes an error whose code has no function of its own here.
func New(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// As finds the Error in a chain of wrapped errors.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Is reports whether err is or wraps an Error with this code.
func Is(err error, code string) bool {
	e, ok := As(err)
	return ok && e.Code == code
}

// With returns a copy with one more field in its answer.
func (e *Error) With(key string, value any) *Error {
	c := *e
	c.Extra = maps.Clone(e.Extra)
	if c.Extra == nil {
		c.Extra = map[string]any{}
	}
	c.Extra[key] = value
	return &c
}

// WithStatus returns a copy that is answered with another HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// HTTPStatus is the status of the answer.
func (e *Error) HTTPStatus() int { return e.Status }

// MarshalJSON writes errcode, error and the extra fields, which can not displace the first two.
func (e *Error) MarshalJSON() ([]byte, error) {
	if len(e.Extra) == 0 {
		return json.Marshal(struct {
			Code    string `json:"errcode"`
			Message string `json:"error"`
		}{e.Code, e.Message})
	}
	fields := maps.Clone(e.Extra)
	fields["errcode"] = e.Code
	fields["error"] = e.Message
	return json.Marshal(fields)
}

// UnmarshalJSON reads the answer of another server. Its status is not in the body: the caller sets it.
func (e *Error) UnmarshalJSON(data []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	code, ok := fields["errcode"].(string)
	if !ok {
		return errors.New("no errcode")
	}
	message, _ := fields["error"].(string)
	delete(fields, "errcode")
	delete(fields, "error")
	if len(fields) == 0 {
		fields = nil
	}
	*e = Error{Status: e.Status, Code: code, Message: message, Extra: fields}
	return nil
}
