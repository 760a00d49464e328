package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
)

// ownTables are those of this package. IF NOT EXISTS, for every domain's handle asks.
const ownTables = `
CREATE TABLE IF NOT EXISTS position (domain_id BIGINT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL);`

// lockKey is the advisory lock that lets one process migrate at a time; any number that nobody else takes.
const lockKey = "7163051958434189153"

// ErrNewer is a schema of a later release of the program.
var ErrNewer = errors.New("database was written by a newer version of the program")

// Migrate brings the schema up to the files NNNN_name.sql in fsys. They run in the order of their numbers, once, forward only,
// all new ones in one transaction. Lines between "-- only: postgres" or "-- only: sqlite" and "-- end" run on that engine
// alone. The tables of a PostgreSQL database are shared by all its domains: for all but the first, nothing is left to do.
func Migrate(ctx context.Context, d *DB, fsys fs.FS) error {
	steps, err := readSteps(fsys, d.engine.dialect())
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	version, err := d.schemaVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	newest := 0
	if len(steps) > 0 {
		newest = steps[len(steps)-1].number
	}
	switch {
	case version > newest:
		return fmt.Errorf("%w: schema %d, known are %d", ErrNewer, version, newest)
	case version == newest && version > 0:
		return nil
	}
	if err := d.migrate(ctx, steps); err != nil {
		return err
	}
	return d.loadPosition(ctx)
}

// schemaVersion is the number of the newest migration that ran, -1 before the first Migrate.
func (d *DB) schemaVersion(ctx context.Context) (int, error) {
	version := -1
	err := d.ReadOne(ctx, func(tx *Tx) error {
		n, err := Get[int](ctx, tx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`)
		version = n
		return err
	})
	if errors.Is(err, errNoTable) {
		return -1, nil
	}
	return version, err
}

func (d *DB) migrate(ctx context.Context, steps []step) error {
	return d.Write(ctx, func(tx *Tx) error {
		script := tx.s.(interface{ script(q string) error }).script
		tx.wrote = true
		if d.engine.dialect() == postgres {
			if err := script("SELECT pg_advisory_xact_lock(" + lockKey + ")"); err != nil {
				return err
			}
		}
		if err := script(ownTables); err != nil {
			return err
		}
		// Somebody may have migrated while we waited for the lock.
		version, err := Get[int](ctx, tx, `SELECT COALESCE(MAX(version), 0) FROM schema_version`)
		if err != nil {
			return err
		}
		for _, s := range steps {
			if s.number <= version {
				continue
			}
			if err := script(s.sql); err != nil {
				return fmt.Errorf("migrate to %04d_%s: %w", s.number, s.name, err)
			}
			if _, err := tx.Exec(ctx, `INSERT INTO schema_version (version, name) VALUES ($1, $2)`, s.number, s.name); err != nil {
				return err
			}
		}
		if d.engine.dialect() == sqlite {
			return writeStats(ctx, tx, script)
		}
		return nil
	})
}

// step is one migration file.
type step struct {
	number int
	name   string
	sql    string
}

func readSteps(fsys fs.FS, d dialect) ([]step, error) {
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var steps []step
	for _, file := range names {
		digits, name, ok := strings.Cut(strings.TrimSuffix(file, ".sql"), "_")
		number, err := strconv.Atoi(digits)
		if !ok || len(digits) != 4 || err != nil || number < 1 {
			return nil, fmt.Errorf("%s is not named NNNN_name.sql", file)
		}
		if n := len(steps); n > 0 && steps[n-1].number == number {
			return nil, fmt.Errorf("%s: %04d is taken by %s", file, number, steps[n-1].name)
		}
		raw, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		sql, err := pickLines(string(raw), d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		steps = append(steps, step{number, name, sql})
	}
	return steps, nil
}

// pickLines leaves out the blocks of the other engine.
func pickLines(script string, d dialect) (string, error) {
	var out strings.Builder
	block := ""
	for i, line := range strings.SplitAfter(script, "\n") {
		mark := strings.TrimSpace(line)
		only, isOnly := strings.CutPrefix(mark, "-- only:")
		only = strings.TrimSpace(only)
		switch {
		case isOnly && block != "":
			return "", fmt.Errorf("line %d: block within a block", i+1)
		case isOnly && only != "sqlite" && only != "postgres":
			return "", fmt.Errorf("line %d: no engine %q", i+1, only)
		case isOnly:
			block = only
		case mark == "-- end" && block == "":
			return "", fmt.Errorf("line %d: end of no block", i+1)
		case mark == "-- end":
			block = ""
		case block == "" || (block == "sqlite") == (d == sqlite):
			out.WriteString(line)
		}
	}
	if block != "" {
		return "", fmt.Errorf("block for %s has no end", block)
	}
	return out.String(), nil
}
