// Package limit holds the bounds on what strangers may send, each with its reason, and the token buckets that slow down who
// asks too often. It decides nothing: callers compare and refuse. A Limiter is safe for concurrent use.
package limit

// Bounds on requests, whatever they are about. What belongs to one subject stands there.
const (
	// RequestBytes is a JSON body where nothing else is said: an event with its envelope, several times over.
	RequestBytes = 256 << 10
	// KeyBytes is an upload of keys or of a part of a key backup: a client sends its devices' one-time keys or some
	// hundred sessions at once.
	KeyBytes = 10 << 20
	// FilterBytes is a stored filter; it is read for every sync (B6).
	FilterBytes = 64 << 10
	// HeaderBytes are all headers of a request: tokens and signatures need a few hundred.
	HeaderBytes = 32 << 10
	// JSONDepth bounds nesting before anything recurses (A10).
	JSONDepth = 200
)
