package canonical

import "errors"

// Append appends the canonical form of the JSON value src to dst. It makes one pass over src, keeps nothing of it and
// allocates only to grow dst. On error dst is returned as it was.
func Append(dst, src []byte, mode Mode) ([]byte, error) { return dst, errors.New("coming") }

// Check reports whether Append would succeed, without writing anything.
func Check(src []byte, mode Mode) error { return errors.New("coming") }
