package store

import (
	"context"
	"crypto/ed25519"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"konsil/kit/db"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

//go:embed registry/*.sql
var registryMigrations embed.FS

// Registry lists the domains of an installation. It is opened once per process and holds nothing in memory: ten thousand
// sleeping domains are ten thousand rows.
type Registry struct{ db *db.DB }

// RegisteredDomain is one domain's row.
type RegisteredDomain struct {
	Number    int64 // $0 of its statements; given by Add
	Name      id.ServerName
	Flavour   string
	Federated bool
	Key       sign.Key
	Due       int64 // ms: wake it then; 0 for never
}

// ErrDomainExists is what Add answers for a name that is taken.
var ErrDomainExists = errors.New("domain exists already")

// OpenRegistry opens the registry at a database URL as Config.URL takes it; pools may be shared with stores, or nil.
func OpenRegistry(ctx context.Context, url string, pools *Pools) (*Registry, error) {
	inner, err := db.Open(ctx, db.Config{URL: url, Readers: 1, CacheKiB: 256, Pools: pools})
	if err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	files, err := registryFiles(url)
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, inner, files); err != nil {
		_ = inner.Close()
		return nil, fmt.Errorf("migrate registry: %w", err)
	}
	return &Registry{db: inner}, nil
}

// registryFiles are the migrations that make the registry's table: on PostgreSQL it is one of the shared tables.
func registryFiles(url string) (fs.FS, error) {
	if strings.HasPrefix(url, "sqlite:") {
		return fs.Sub(registryMigrations, "registry")
	}
	return fs.Sub(migrations, "migrations")
}

// Close closes the registry.
func (r *Registry) Close() error { return r.db.Close() }

const domainColumns = `number, server_name, flavour, federated, key_id, seed, due_ts`

func scanDomain(row *db.Row) (RegisteredDomain, error) {
	var (
		d    RegisteredDomain
		seed []byte
	)
	if err := row.Scan(&d.Number, &d.Name, &d.Flavour, &d.Federated, &d.Key.ID, &seed, &d.Due); err != nil {
		return d, err
	}
	if len(seed) != ed25519.SeedSize {
		return d, fmt.Errorf("signing key of domain %d has %d bytes", d.Number, len(seed))
	}
	d.Key.Private = ed25519.NewKeyFromSeed(seed)
	return d, nil
}

// Add registers a domain and gives it its number.
func (r *Registry) Add(ctx context.Context, d RegisteredDomain) (RegisteredDomain, error) {
	err := r.db.Write(ctx, func(tx *db.Tx) error {
		number, err := db.Get[int64](ctx, tx, `
			INSERT INTO domain (domain_id, number, server_name, flavour, federated, key_id, seed, due_ts)
			SELECT $0, COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4, $5, $6 FROM domain WHERE domain_id = $0
			ON CONFLICT (domain_id, server_name) DO NOTHING
			RETURNING number`,
			string(d.Name), d.Flavour, flag(d.Federated), string(d.Key.ID), d.Key.Private.Seed(), d.Due)
		if errors.Is(err, db.ErrNotFound) {
			return ErrDomainExists
		}
		d.Number = number
		return err
	})
	return d, err
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Get reads a domain by its name, or answers ErrNotFound.
func (r *Registry) Get(ctx context.Context, name id.ServerName) (RegisteredDomain, error) {
	found, err := r.list(ctx, `SELECT `+domainColumns+` FROM domain WHERE domain_id = $0 AND server_name = $1`, string(name))
	if err != nil {
		return RegisteredDomain{}, err
	}
	if len(found) == 0 {
		return RegisteredDomain{}, ErrNotFound
	}
	return found[0], nil
}

// List reads all domains whose number is above after, at most limit, in the order of their numbers.
func (r *Registry) List(ctx context.Context, after int64, limit int) ([]RegisteredDomain, error) {
	return r.list(ctx, `
		SELECT `+domainColumns+` FROM domain WHERE domain_id = $0 AND number > $1 ORDER BY number LIMIT $2`, after, int64(limit))
}

// DueBefore lists domains that want to be woken by now, the longest overdue first.
func (r *Registry) DueBefore(ctx context.Context, now int64, limit int) ([]RegisteredDomain, error) {
	return r.list(ctx, `
		SELECT `+domainColumns+` FROM domain
		WHERE domain_id = $0 AND due_ts > 0 AND due_ts <= $1 ORDER BY due_ts LIMIT $2`, now, int64(limit))
}

// SetDue says when a domain wants to be woken next; 0 for never.
func (r *Registry) SetDue(ctx context.Context, number, due int64) error {
	return r.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE domain SET due_ts = $2 WHERE domain_id = $0 AND number = $1`, number, due)
		return err
	})
}

func (r *Registry) list(ctx context.Context, q string, args ...any) ([]RegisteredDomain, error) {
	var found []RegisteredDomain
	err := r.db.ReadOne(ctx, func(tx *db.Tx) error {
		found = nil
		return db.Each(ctx, tx, q, args, func(row *db.Row) error {
			d, err := scanDomain(row)
			found = append(found, d)
			return err
		})
	})
	return found, err
}
