package clientsync

import (
	"strconv"
	"strings"

	"konsil/matrix/mxerr"
)

// A token is "s" and a position of the domain's order. It says when, never whose: what a user sees for it follows from who
// asks, so a token of somebody else is worth nothing more than a number (B7).

func token(pos int64) string { return "s" + strconv.FormatInt(pos, 10) }

func appendToken(b []byte, pos int64) []byte {
	return append(strconv.AppendInt(append(b, `"s`...), pos, 10), '"')
}

// parseToken reads a since token; "" is the beginning. What we have not given, or not yet, is unknown.
// CS v1.16 #common-error-codes M_UNKNOWN_POS
func (s *Syncer) parseToken(given string) (int64, error) {
	if given == "" {
		return 0, nil
	}
	pos, ok := readToken(given)
	if !ok || pos > s.cfg.Store.Position() {
		return 0, mxerr.UnknownPos()
	}
	return pos, nil
}

// readToken accepts exactly what token writes.
func readToken(given string) (int64, bool) {
	digits, ok := strings.CutPrefix(given, "s")
	if !ok || len(digits) > 19 {
		return 0, false
	}
	pos, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || pos < 0 || token(pos) != given {
		return 0, false
	}
	return pos, true
}
