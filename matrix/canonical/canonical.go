// Package canonical turns JSON into Matrix's canonical JSON, checks it, and reads fields out of JSON without decoding it
// into maps. It works on bytes; functions may be called from many goroutines.
//
// Appendices v1.16 #canonical-json
package canonical

import "errors"

// Mode says how much of the rules is enforced.
type Mode int

const (
	// Strict refuses what canonical JSON can not express: fractions, exponents, -0, integers past 2^53-1, duplicate keys.
	// RV 6 #canonical-json
	Strict Mode = iota
	// Lenient takes any number and the last of duplicate keys, for events of room versions 1 to 5 and for documents that
	// may carry such events. RV 1 #canonical-json
	Lenient
)

// MaxDepth is how deep arrays and objects may nest. Other servers give up between 128 and 1,000.
const MaxDepth = 1000

// MaxInt is the largest integer of canonical JSON, and the negative of the smallest.
const MaxInt = 1<<53 - 1

var (
	// ErrSyntax is wrapped by errors about bytes that are not JSON: bad grammar, bad UTF-8, lone surrogates, too deep.
	ErrSyntax = errors.New("not JSON")
	// ErrValue is wrapped by errors about JSON that has no canonical form.
	ErrValue = errors.New("not canonical JSON")
)
