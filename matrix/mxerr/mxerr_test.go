package mxerr_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"konsil/matrix/mxerr"
)

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		err    *mxerr.Error
		status int
		want   string
	}{
		{mxerr.Forbidden("no"), 403, `{"errcode":"M_FORBIDDEN","error":"no"}`},
		{mxerr.NotFound("no %s", "event"), 404, `{"errcode":"M_NOT_FOUND","error":"no event"}`},
		{mxerr.UnknownToken(true), 401, `{"errcode":"M_UNKNOWN_TOKEN","error":"Unknown or expired access token","soft_logout":true}`},
		{mxerr.UnknownToken(false), 401, `{"errcode":"M_UNKNOWN_TOKEN","error":"Unknown or expired access token"}`},
		{mxerr.LimitExceeded(1500 * time.Millisecond), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"Too many requests","retry_after_ms":1500}`},
		{mxerr.WrongRoomKeysVersion("4"), 403, `{"current_version":"4","errcode":"M_WRONG_ROOM_KEYS_VERSION","error":"Wrong backup version"}`},
		{mxerr.IncompatibleRoomVersion("12"), 400, `{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","error":"Your homeserver does not support the features required to join this room","room_version":"12"}`},
		{mxerr.Forbidden("x").With("errcode", "M_OTHER").With("a", 1), 403, `{"a":1,"errcode":"M_FORBIDDEN","error":"x"}`},
		{mxerr.Unrecognized(), 404, `{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}`},
		{mxerr.WrongMethod(), 405, `{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request method"}`},
		{mxerr.TooLarge("big"), 413, `{"errcode":"M_TOO_LARGE","error":"big"}`},
		{mxerr.NotFound("x").WithStatus(400), 400, `{"errcode":"M_NOT_FOUND","error":"x"}`},
		{mxerr.UnableToAuthorizeJoin().WithStatus(400).With("a", nil), 400, `{"a":null,"errcode":"M_UNABLE_TO_AUTHORISE_JOIN","error":"Unable to authorise the join, try another server"}`},
	} {
		got, err := json.Marshal(c.err)
		if err != nil || string(got) != c.want || c.err.HTTPStatus() != c.status {
			t.Errorf("%d %s, %v, want %d %s", c.err.HTTPStatus(), got, err, c.status, c.want)
		}
		back := mxerr.Error{Status: c.status}
		if err := json.Unmarshal(got, &back); err != nil || back.Code != c.err.Code || back.Message != c.err.Message || back.Status != c.status {
			t.Errorf("%+v, %v", back, err)
		}
	}
	for _, in := range []string{`{}`, `{"errcode":1}`, `[]`, `<html>`} {
		if err := json.Unmarshal([]byte(in), new(mxerr.Error)); err == nil {
			t.Errorf("%s is no Matrix error", in)
		}
	}
}

// With copies: an error that was handed out does not change.
func TestWithCopies(t *testing.T) {
	first := mxerr.LimitExceeded(time.Second)
	second := first.With("a", 1).WithStatus(500)
	if len(first.Extra) != 1 || first.Status != 429 || len(second.Extra) != 2 {
		t.Errorf("%+v, %+v", first, second)
	}
}

func TestAs(t *testing.T) {
	wrapped := fmt.Errorf("join: %w", mxerr.BadState("not banned"))
	if e, ok := mxerr.As(wrapped); !ok || e.Code != mxerr.CodeBadState || e.Error() != "M_BAD_STATE: not banned" {
		t.Errorf("%v %v", e, ok)
	}
	if !mxerr.Is(wrapped, mxerr.CodeBadState) || mxerr.Is(wrapped, mxerr.CodeForbidden) || mxerr.Is(nil, mxerr.CodeForbidden) {
		t.Error("Is")
	}
	if _, ok := mxerr.As(fmt.Errorf("disk full")); ok {
		t.Error("an error of our own is no Matrix error")
	}
}
