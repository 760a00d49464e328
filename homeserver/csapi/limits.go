package csapi

import (
	"strconv"

	"konsil/matrix/mxerr"
)

// A class says what a request to its endpoints may cost: the size of its body, and how many one user (or, before login,
// one address) may make. A bucket holds burst requests and refills with perSecond.
type class struct {
	name      string
	body      int64
	perSecond float64
	burst     int
}

const kib = 1 << 10

// The classes. They stop programs that run wild; a person with several clients, or a ward behind one address, never
// meets them.
var (
	limitRead     = class{"read", 16 * kib, 50, 500}     // answers from memory or by one query
	limitSearch   = class{"search", 16 * kib, 5, 50}     // costs several queries
	limitWrite    = class{"write", 256 * kib, 20, 200}   // one transaction
	limitSend     = class{"send", 256 * kib, 50, 500}    // an event; the engine bounds its canonical size
	limitJoin     = class{"join", 256 * kib, 5, 100}     // memberships; may speak to other servers
	limitCreate   = class{"create", 512 * kib, 1, 50}    // rooms
	limitKeys     = class{"keys", 10 << 20, 20, 200}     // key uploads and backups come in batches
	limitToDevice = class{"to-device", 4 << 20, 20, 500} // key shares go to every device of a room at once
	limitSync     = class{"sync", 1 << 20, 20, 200}      // long polls
	limitMedia    = class{"media", 0, 20, 200}           // bodies are streamed and bounded by the media keeper
	limitLogin    = class{"login", 64 * kib, 5, 200}     // per address; accounts have a bucket of their own
	limitRegister = class{"register", 64 * kib, 1, 50}   // per address
	limitProve    = class{"prove", 256 * kib, 0.5, 20}   // password checks of users who are logged in
)

// retryAfter is the Retry-After header in whole seconds, rounded up. CS v1.16 #rate-limiting
func retryAfter(e *mxerr.Error) string {
	ms, _ := e.Extra["retry_after_ms"].(int64)
	return strconv.FormatInt((ms+999)/1000, 10)
}
