package mxerr_test

import (
	"testing"
	"time"

	"konsil/matrix/mxerr"
)

// Statuses and codes as the specification's endpoints answer them. CS v1.16 #standard-error-response
func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		err    *mxerr.Error
		status int
		code   string
	}{
		{mxerr.Forbidden("x"), 403, "M_FORBIDDEN"}, {mxerr.NotFound("x"), 404, "M_NOT_FOUND"}, {mxerr.InvalidParam("x"), 400, "M_INVALID_PARAM"},
		{mxerr.MissingParam("x"), 400, "M_MISSING_PARAM"}, {mxerr.BadJSON("x"), 400, "M_BAD_JSON"}, {mxerr.NotJSON("x"), 400, "M_NOT_JSON"},
		{mxerr.TooLarge("x"), 413, "M_TOO_LARGE"}, {mxerr.Unrecognized(), 404, "M_UNRECOGNIZED"}, {mxerr.WrongMethod(), 405, "M_UNRECOGNIZED"},
		{mxerr.MissingToken(), 401, "M_MISSING_TOKEN"}, {mxerr.UnknownToken(false), 401, "M_UNKNOWN_TOKEN"}, {mxerr.Unauthorized("x"), 401, "M_UNAUTHORIZED"},
		{mxerr.LimitExceeded(time.Second), 429, "M_LIMIT_EXCEEDED"}, {mxerr.UnknownPos(), 400, "M_UNKNOWN_POS"}, {mxerr.UserInUse(), 400, "M_USER_IN_USE"},
		{mxerr.RoomInUse(), 400, "M_ROOM_IN_USE"}, {mxerr.InvalidUsername(), 400, "M_INVALID_USERNAME"}, {mxerr.IncompatibleRoomVersion("1"), 400, "M_INCOMPATIBLE_ROOM_VERSION"},
		{mxerr.UnsupportedRoomVersion(), 400, "M_UNSUPPORTED_ROOM_VERSION"}, {mxerr.InvalidRoomState("x"), 400, "M_INVALID_ROOM_STATE"}, {mxerr.BadState("x"), 403, "M_BAD_STATE"},
		{mxerr.GuestAccessForbidden(), 403, "M_GUEST_ACCESS_FORBIDDEN"}, {mxerr.UnableToAuthorizeJoin(), 400, "M_UNABLE_TO_AUTHORISE_JOIN"},
		{mxerr.UnableToGrantJoin(), 400, "M_UNABLE_TO_GRANT_JOIN"}, {mxerr.WrongRoomKeysVersion("1"), 403, "M_WRONG_ROOM_KEYS_VERSION"}, {mxerr.Exclusive("x"), 400, "M_EXCLUSIVE"},
		{mxerr.WeakPassword("x"), 400, "M_WEAK_PASSWORD"}, {mxerr.UserDeactivated(), 403, "M_USER_DEACTIVATED"}, {mxerr.InvalidSignature("x"), 400, "M_INVALID_SIGNATURE"},
		{mxerr.ConnectionFailed(), 502, "M_CONNECTION_FAILED"}, {mxerr.ConnectionTimeout(), 504, "M_CONNECTION_TIMEOUT"}, {mxerr.NotYetUploaded(), 504, "M_NOT_YET_UPLOADED"},
		{mxerr.Unknown("x"), 400, "M_UNKNOWN"}, {mxerr.Internal(), 500, "M_UNKNOWN"},
	} {
		if c.err.HTTPStatus() != c.status || c.err.Code != c.code || c.err.Message == "" {
			t.Errorf("%d %v, want %d %s", c.err.HTTPStatus(), c.err, c.status, c.code)
		}
	}
}
