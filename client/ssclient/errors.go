package ssclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Error is an answer of another server that is no success. It is not an mxerr.Error on purpose: a remote's 401 must never
// reach our own client as ours (A29). Gateway turns it into one of ours, Relay into one whose code is passed on.
type Error struct {
	Server     id.ServerName
	Status     int
	Code       string        // errcode, "" when the body was no Matrix error
	Message    string        // error, cut to a sane length
	RetryAfter time.Duration // what a 429 asked for, 0 otherwise

	RoomVersion string // of M_INCOMPATIBLE_ROOM_VERSION
}

func (e *Error) Error() string {
	return fmt.Sprintf("remote server answered %d %s", e.Status, e.Code)
}

// Unreachable says that no complete answer came: name not found, address forbidden, refused, TLS, timeout, cut off.
type Unreachable struct {
	Server id.ServerName
	Err    error
}

func (e *Unreachable) Error() string { return "reach remote server: " + e.Err.Error() }
func (e *Unreachable) Unwrap() error { return e.Err }

// Timeout reports whether time ran out.
func (e *Unreachable) Timeout() bool {
	var t net.Error
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

// Malformed says that a successful answer was not what the specification asks for, or larger than we read.
type Malformed struct {
	Server id.ServerName
	Reason string
}

func (e *Malformed) Error() string { return "remote server's answer: " + e.Reason }

func malformed(server id.ServerName, format string, args ...any) error {
	return &Malformed{Server: server, Reason: fmt.Sprintf(format, args...)}
}

// Answered finds the remote's refusal in a chain of errors.
func Answered(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Refused reports whether the remote server refused with this code.
func Refused(err error, code string) bool {
	e, ok := Answered(err)
	return ok && e.Code == code
}

// Gateway is what our own client is told when another server failed us: 502 or 504 with words of ours. Errors that did not
// come from another server pass unchanged.
func Gateway(err error) error {
	var unreachable *Unreachable
	var wrong *Malformed
	switch _, answered := Answered(err); {
	case err == nil:
		return nil
	case errors.As(err, &unreachable):
		if unreachable.Timeout() {
			return mxerr.ConnectionTimeout()
		}
		return mxerr.ConnectionFailed()
	case answered, errors.As(err, &wrong):
		return mxerr.New(http.StatusBadGateway, mxerr.CodeUnknown, "The other server refused or answered nonsense")
	}
	return err
}

// Relay passes a remote refusal with one of the given codes on to our client, with the status it came with; all else
// becomes what Gateway makes of it. Codes that a client acts upon for its own session (M_UNKNOWN_TOKEN) are never given.
func Relay(err error, codes ...string) error {
	e, ok := Answered(err)
	if !ok || e.Status < 400 || e.Status == http.StatusUnauthorized || e.Status >= 500 {
		return Gateway(err)
	}
	for _, code := range codes {
		if e.Code == code {
			relayed := mxerr.New(e.Status, e.Code, "%s", e.Message)
			if e.RoomVersion != "" {
				relayed = relayed.With("room_version", e.RoomVersion)
			}
			return relayed
		}
	}
	return Gateway(err)
}

// readError makes an Error of an answer's status and (bounded) body.
func readError(server id.ServerName, resp *http.Response, body []byte) *Error {
	e := &Error{Server: server, Status: resp.StatusCode}
	var fields struct {
		Code        string  `json:"errcode"`
		Message     string  `json:"error"`
		RetryAfter  float64 `json:"retry_after_ms"`
		RoomVersion string  `json:"room_version"`
	}
	// A wrong type in one field must not lose the others, so the error of Unmarshal is of no interest.
	_ = json.Unmarshal(body, &fields)
	e.Code, e.Message, e.RoomVersion = cut(fields.Code, 64), cut(fields.Message, 512), cut(fields.RoomVersion, 32)
	if e.Status == http.StatusTooManyRequests {
		e.RetryAfter = min(time.Duration(max(fields.RetryAfter, 0))*time.Millisecond, time.Hour)
	}
	return e
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
