package csapi

import (
	"strconv"

	"konsil/kit/limit"
	"konsil/matrix/mxerr"
)

// A class says what a request to its endpoints may cost: the size of its body, and how often one user (or, before login, one
// address) may make one.
type class struct {
	name string
	body int64
	rate limit.Rate
}

const kib = 1 << 10

// The classes. They stop programs that run wild; a person with several clients, or a ward behind one address, never meets
// them.
var (
	limitRead     = class{"read", 16 * kib, limit.Rate{PerSecond: 50, Burst: 500}}               // answers from memory or by one query
	limitSearch   = class{"search", 16 * kib, limit.Rate{PerSecond: 5, Burst: 50}}               // costs several queries
	limitWrite    = class{"write", limit.RequestBytes, limit.Rate{PerSecond: 20, Burst: 200}}    // one transaction
	limitSend     = class{"send", limit.RequestBytes, limit.Rate{PerSecond: 50, Burst: 500}}     // an event; the engine bounds its canonical size
	limitJoin     = class{"join", limit.RequestBytes, limit.Rate{PerSecond: 5, Burst: 100}}      // memberships; may speak to other servers
	limitCreate   = class{"create", 2 * limit.RequestBytes, limit.Rate{PerSecond: 1, Burst: 50}} // rooms
	limitKeys     = class{"keys", limit.KeyBytes, limit.Rate{PerSecond: 20, Burst: 200}}         // key uploads and backups come in batches
	limitToDevice = class{"to-device", 4 << 20, limit.Rate{PerSecond: 20, Burst: 500}}           // key shares go to every device of a room at once
	limitSync     = class{"sync", 1 << 20, limit.Rate{PerSecond: 20, Burst: 200}}                // long polls
	limitMedia    = class{"media", 0, limit.Rate{PerSecond: 20, Burst: 200}}                     // bodies are streamed and bounded by the media keeper
	limitLogin    = class{"login", 64 * kib, limit.Rate{PerSecond: 5, Burst: 200}}               // per address; accounts have a bucket of their own
	limitRegister = class{"register", 64 * kib, limit.Rate{PerSecond: 1, Burst: 50}}             // per address
	limitReport   = class{"report", 16 * kib, limit.Rate{PerSecond: 0.2, Burst: 20}}             // somebody has to read them
	limitProve    = class{"prove", limit.RequestBytes, limit.Rate{PerSecond: 0.5, Burst: 20}}    // password checks of users who are logged in
)

// allow takes a request from the bucket of a user or an address.
func (a *API) allow(c class, who string) error {
	if wait, ok := a.limiter.Allow(c.name, who, c.rate); !ok {
		return mxerr.LimitExceeded(wait)
	}
	return nil
}

// retryAfter is the Retry-After header in whole seconds, rounded up. CS v1.16 #rate-limiting
func retryAfter(e *mxerr.Error) string {
	ms, _ := e.Extra["retry_after_ms"].(int64)
	return strconv.FormatInt((ms+999)/1000, 10)
}
