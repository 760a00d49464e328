package federation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"konsil/client/ssclient"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// ErrNoKey says that a signing key can not be had, or was not valid at the time in question.
var ErrNoKey = errors.New("signing key not available")

// Keyring knows servers' signing keys: ours, and others' from memory, from the store, from their server, from a notary, in
// that order. A server that does not answer, or whose answer does not help, is asked again later and later: forged
// signatures cause no storm of requests (A5).
type Keyring struct {
	server   id.ServerName
	key      sign.Key
	old      map[id.KeyID]sign.OldKey
	client   *ssclient.Client
	store    *store.DB
	clock    clock.Clock
	notaries []id.ServerName

	fetching singleflight.Group
	slots    chan struct{} // bounds fetches under way, over all servers

	mu      sync.Mutex
	servers map[id.ServerName]*serverKeys // guarded by mu
	own     *sign.ServerKeys              // our document, guarded by mu
}

// serverKeys is what is remembered of one server. The documents are never changed, only replaced.
type serverKeys struct {
	documents []document // newest first
	retryAt   time.Time  // not fetched again before
	failures  int        // fetches in a row that did not help
}

type document struct {
	*sign.ServerKeys
	fetched time.Time
}

const (
	maxServers   = 20_000 // remembered; some 1 KiB each
	maxDocuments = 8      // per server: a key rotated daily for a week
	fetchSlots   = 32
	fetchTimeout = 15 * time.Second

	// ownLifetime is how long our document is valid when it is made; it is made again in the second half of that time.
	ownLifetime = 48 * time.Hour

	retryMin = 30 * time.Second
	retryMax = time.Hour
)

func newKeyring(cfg Config) *Keyring {
	return &Keyring{server: cfg.Server, key: cfg.Key, old: cfg.Old, client: cfg.Client, store: cfg.Store, clock: cfg.Clock,
		notaries: cfg.Notaries, slots: make(chan struct{}, fetchSlots), servers: map[id.ServerName]*serverKeys{}}
}

// Own is our keys document, signed. SS v1.16 #publishing-keys
func (k *Keyring) Own() (*sign.ServerKeys, error) {
	now := k.clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own != nil && time.UnixMilli(k.own.ValidUntil).Sub(now) > ownLifetime/2 {
		return k.own, nil
	}
	own, err := sign.BuildServerKeys(k.server, []sign.Key{k.key}, k.old, now.Add(ownLifetime))
	if err != nil {
		return nil, fmt.Errorf("build keys document: %w", err)
	}
	k.own = own
	return own, nil
}

// find looks for a key in what is known, fetching at most once. pick judges one document.
func (k *Keyring) find(ctx context.Context, server id.ServerName, pick func(document) (ed25519.PublicKey, bool)) (ed25519.PublicKey, error) {
	if server == k.server {
		own, err := k.Own()
		if err != nil {
			return nil, err
		}
		if pub, ok := pick(document{own, k.clock.Now()}); ok {
			return pub, nil
		}
		return nil, ErrNoKey
	}
	known, err := k.remembered(ctx, server)
	if err != nil {
		return nil, err
	}
	if pub, ok := pickFrom(known.documents, pick); ok {
		return pub, nil
	}
	if k.clock.Now().Before(known.retryAt) {
		return nil, ErrNoKey
	}
	documents, err := k.fetch(ctx, server)
	if err != nil {
		return nil, err
	}
	pub, ok := pickFrom(documents, pick)
	if !ok {
		return nil, ErrNoKey
	}
	k.helped(server)
	return pub, nil
}

func pickFrom(documents []document, pick func(document) (ed25519.PublicKey, bool)) (ed25519.PublicKey, bool) {
	for _, d := range documents {
		if pub, ok := pick(d); ok {
			return pub, true
		}
	}
	return nil, false
}

// remembered reads memory, then the store.
func (k *Keyring) remembered(ctx context.Context, server id.ServerName) (serverKeys, error) {
	k.mu.Lock()
	known, ok := k.servers[server]
	if ok {
		defer k.mu.Unlock()
		return *known, nil
	}
	k.mu.Unlock()
	var rows []store.ServerKeyDocument
	err := k.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.ServerKeyDocuments(ctx, server)
		return err
	})
	if err != nil {
		return serverKeys{}, fmt.Errorf("read server keys: %w", err)
	}
	fresh := &serverKeys{}
	for _, row := range rows {
		if keys, err := sign.ParseServerKeys(row.Document); err == nil && keys.Server == server {
			fresh.documents = append(fresh.documents, document{keys, time.UnixMilli(row.Fetched)})
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.servers[server]; ok {
		return *known, nil // somebody was quicker
	}
	for forgotten := range k.servers {
		if len(k.servers) < maxServers {
			break
		}
		delete(k.servers, forgotten)
	}
	k.servers[server] = fresh
	return *fresh, nil
}

// fetch gets a server's documents over the network; concurrent calls share one request.
func (k *Keyring) fetch(ctx context.Context, server id.ServerName) ([]document, error) {
	result := k.fetching.DoChan(string(server), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		select {
		case k.slots <- struct{}{}:
			defer func() { <-k.slots }()
		case <-ctx.Done():
			return nil, ErrNoKey
		}
		return k.fetchNow(ctx, server)
	})
	select {
	case r := <-result:
		documents, _ := r.Val.([]document)
		return documents, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *Keyring) fetchNow(ctx context.Context, server id.ServerName) ([]document, error) {
	now := k.clock.Now()
	raw, err := k.client.ServerKeys(ctx, server)
	fetched := []document{}
	if err == nil {
		var keys *sign.ServerKeys
		// An answer must speak of the server that was asked, whatever else it contains (A7).
		if keys, err = sign.ParseServerKeys(raw); err == nil && keys.Server != server {
			err = fmt.Errorf("answered with another server's keys: %w", ErrNoKey)
		}
		if err == nil {
			fetched = append(fetched, document{keys, now})
		}
	}
	if err != nil {
		fetched = k.askNotaries(ctx, server, now)
	}
	if len(fetched) > 0 {
		if err := k.keep(ctx, server, fetched); err != nil {
			return nil, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known := serverKeys{}
	if old := k.servers[server]; old != nil {
		known = *old
	}
	known.retryAt = now.Add(min(retryMin<<min(known.failures, 8), retryMax))
	known.failures++ // taken back by helped
	if len(fetched) > 0 {
		known.documents = merge(fetched, known.documents)
	}
	k.servers[server] = &known
	if len(fetched) == 0 {
		return known.documents, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return known.documents, nil
}

// merge puts fresh documents before the old ones that differ from them.
func merge(fresh, old []document) []document {
	all := append([]document(nil), fresh...)
	for _, d := range old {
		same := false
		for _, f := range fresh {
			same = same || string(f.JSON) == string(d.JSON) || sameKeys(f, d)
		}
		if !same && len(all) < maxDocuments {
			all = append(all, d)
		}
	}
	return all
}

// sameKeys reports whether a newer document makes an older one needless: it has all its keys in use.
func sameKeys(newer, older document) bool {
	for key, pub := range older.Verify {
		if !pub.Equal(newer.Verify[key]) {
			return false
		}
	}
	for key := range older.Old {
		if _, ok := newer.Old[key]; !ok {
			return false
		}
	}
	return true
}

func (k *Keyring) keep(ctx context.Context, server id.ServerName, documents []document) error {
	err := k.store.Write(ctx, func(tx *store.Tx) error {
		for _, d := range documents {
			var names []id.KeyID
			for key := range d.Verify {
				names = append(names, key)
			}
			for key := range d.Old {
				names = append(names, key)
			}
			row := store.ServerKeyDocument{Fetched: d.fetched.UnixMilli(), ValidUntil: d.ValidUntil, Document: d.JSON}
			if err := tx.SetServerKeys(ctx, server, names, row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store server keys: %w", err)
	}
	return nil
}

// askNotaries asks the configured notaries, one after the other. A document counts that both the server and the notary
// have signed. SS v1.16 #querying-keys-through-another-server
func (k *Keyring) askNotaries(ctx context.Context, server id.ServerName, now time.Time) []document {
	for _, notary := range k.notaries {
		if notary == server || notary == k.server {
			continue
		}
		raws, err := k.client.NotaryKeys(ctx, notary, ssclient.KeyCriteria{server: {}})
		if err != nil {
			continue
		}
		var found []document
		for _, raw := range raws[:min(len(raws), maxDocuments)] {
			keys, err := sign.ParseServerKeys(raw)
			if err != nil || keys.Server != server || !k.signedBy(ctx, notary, raw) {
				continue
			}
			found = append(found, document{keys, now})
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// signedBy reports whether a notary has signed a document.
func (k *Keyring) signedBy(ctx context.Context, notary id.ServerName, raw []byte) bool {
	for _, key := range sign.KeyIDs(raw, string(notary)) {
		pub, err := k.find(ctx, notary, func(d document) (ed25519.PublicKey, bool) {
			return d.ForRequest(key, k.clock.Now(), d.fetched)
		})
		if err == nil && sign.VerifyJSON(raw, string(notary), key, pub) == nil {
			return true
		}
	}
	return false
}

// helped ends the mistrust of a server whose answer was of use.
func (k *Keyring) helped(server id.ServerName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.servers[server]; known != nil {
		fresh := *known
		fresh.failures = 0
		k.servers[server] = &fresh
	}
}

// VerifyRequest checks the Authorization headers of a request and gives the server that signed it; all failures are 401.
// SS v1.16 #request-authentication
func (k *Keyring) VerifyRequest(ctx context.Context, headers []string, method, uri string, body []byte) (id.ServerName, error) {
	x, err := sign.ParseXMatrix(headers...)
	if err != nil {
		return "", mxerr.Unauthorized("Missing or malformed X-Matrix authorization")
	}
	// A destination is asked for although old servers sent none: without it, a request could be replayed to us (A8).
	if x.Destination != k.server || x.Origin == k.server {
		return "", mxerr.Unauthorized("X-Matrix authorization is not for this server")
	}
	pub, err := k.find(ctx, x.Origin, func(d document) (ed25519.PublicKey, bool) {
		return d.ForRequest(x.Key, k.clock.Now(), d.fetched)
	})
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", mxerr.Unauthorized("Signing key of the origin is not available")
	}
	if err := sign.VerifyRequest(x, method, uri, body, k.server, pub); err != nil {
		return "", mxerr.Unauthorized("Invalid signature")
	}
	return x.Origin, nil
}

// Query answers as a notary: documents of a server, each with our signature added, fetched again when what we have is
// not valid until minValid (ms; 0 means now). SS v1.16 #get_matrixkeyv2queryservername
func (k *Keyring) Query(ctx context.Context, server id.ServerName, minValid int64) ([][]byte, error) {
	if server == k.server {
		own, err := k.Own()
		if err != nil {
			return nil, err
		}
		return [][]byte{own.JSON}, nil
	}
	known, err := k.remembered(ctx, server)
	if err != nil {
		return nil, err
	}
	now := k.clock.Now()
	// No document is worth a request for a time further away than documents live.
	minValid = min(max(minValid, now.UnixMilli()), now.Add(7*24*time.Hour).UnixMilli())
	documents := known.documents
	if (len(documents) == 0 || documents[0].ValidUntil < minValid) && !now.Before(known.retryAt) {
		if fetched, err := k.fetch(ctx, server); err == nil {
			documents = fetched
		}
	}
	var answers [][]byte
	for _, d := range documents {
		signed, err := d.CoSign(k.server, k.key)
		if err != nil {
			return nil, fmt.Errorf("sign keys document: %w", err)
		}
		answers = append(answers, signed)
	}
	return answers, nil
}

// QueryAll is Query for many servers, in parallel within what a request may take.
func (k *Keyring) QueryAll(ctx context.Context, servers map[id.ServerName]int64) ([][]byte, error) {
	var (
		mu  sync.Mutex
		all [][]byte // guarded by mu
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for server, minValid := range servers {
		g.Go(func() error {
			found, err := k.Query(ctx, server, minValid)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, found...)
			return nil
		})
	}
	return all, g.Wait()
}
