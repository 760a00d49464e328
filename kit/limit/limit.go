// Package limit holds the bounds on what strangers may send, each with its reason, and the token buckets that slow down who
// asks too often. It decides nothing: callers compare and refuse. A Limiter is safe for concurrent use.
package limit

import "time"

// Bounds on input. Where a specification gives the number, its section stands beside it; the others are ours.
const (
	// EventBytes is the size of an event in canonical form. SS v1.16 #size-limits (A1)
	EventBytes = 65536
	// IdentifierBytes bounds ids, types and state keys, in bytes and not in characters. SS v1.16 #size-limits (A1)
	IdentifierBytes = 255
	// TransactionEvents and TransactionEphemeral are what one transaction of a server may hold. SS v1.16 #transactions (A3)
	TransactionEvents    = 50
	TransactionEphemeral = 100
	// TransactionBytes is the largest transaction that these two allow, and something for the JSON around them.
	TransactionBytes = (TransactionEvents+TransactionEphemeral)*EventBytes + 64<<10

	// PrevEvents and AuthEvents are what one event may name. SS v1.16 #pdus: more is rejected unread (A11, A12)
	PrevEvents = 20
	AuthEvents = 10

	// MissingEvents and BackfillEvents are what one answer gives, whatever was asked for: a page, not a room (A21).
	MissingEvents  = 20
	BackfillEvents = 100

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

	// AnswerBytes is what another server may answer to a plain question (A29).
	AnswerBytes = 1 << 20
	// JoinAnswerBytes is a room's state on joining: a room of 100,000 members has about 200 MB; it is streamed (A19).
	JoinAnswerBytes = 512 << 20
	// WellKnownBytes is a document of a few lines, from a web server that we do not know (A30).
	WellKnownBytes = 64 << 10
	// Redirects is how often a discovery may be sent on (A30).
	Redirects = 5

	// PageEvents is the most that one page of a room's history holds; the request may say less (B6).
	PageEvents = 1000
	// LongPoll is the longest wait for news. Proxies cut longer ones.
	LongPoll = 2 * time.Minute
)
