package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"konsil/kit/db"
)

// OneTimeKey is a key that one other device may use once, or a fallback key that many may use.
type OneTimeKey struct {
	ID   string // without the algorithm
	JSON []byte // an object, or a string for unsigned keys
}

// bundleSize is how many one-time keys share a row: so that an upload of 50 is 4 rows, and a row still fits a page.
const bundleSize = 16

// AddOneTimeKeys appends keys of one algorithm. The caller knows that their IDs are new.
func (tx *Tx) AddOneTimeKeys(ctx context.Context, owner Owner, algorithm string, keys []OneTimeKey) error {
	for len(keys) > 0 {
		n := min(bundleSize, len(keys))
		_, err := tx.Exec(ctx, `
			INSERT INTO one_time_key (domain_id, owner, algorithm, pos, taken, total, keys)
			VALUES ($0, $1, $2, $3, 0, $4, $5)`, owner, algorithm, tx.NextPosition(), n, packKeys(keys[:n]))
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// OneTimeKeys reads all keys of a device that nobody has claimed yet: algorithm → key ID → key.
func (tx *Tx) OneTimeKeys(ctx context.Context, owner Owner) (map[string]map[string][]byte, error) {
	all := map[string]map[string][]byte{}
	err := db.Each(ctx, tx, `
		SELECT algorithm, taken, keys FROM one_time_key WHERE domain_id = $0 AND owner = $1`, []any{owner},
		func(row *db.Row) error {
			var algorithm string
			var taken int
			var packed []byte
			if err := row.Scan(&algorithm, &taken, &packed); err != nil {
				return err
			}
			keys, err := unpackKeys(packed)
			if err != nil || taken > len(keys) {
				return fmt.Errorf("one-time keys of a device: %w", errors.Join(err, errPacked))
			}
			if all[algorithm] == nil {
				all[algorithm] = map[string][]byte{}
			}
			for _, key := range keys[taken:] {
				all[algorithm][key.ID] = key.JSON
			}
			return nil
		})
	return all, err
}

// OneTimeKeyCounts says how many unclaimed keys of each algorithm a device has.
func (tx *Tx) OneTimeKeyCounts(ctx context.Context, owner Owner) (map[string]int64, error) {
	counts := map[string]int64{}
	err := db.Each(ctx, tx, `
		SELECT algorithm, CAST(SUM(total - taken) AS BIGINT) FROM one_time_key
		WHERE domain_id = $0 AND owner = $1 GROUP BY algorithm`, []any{owner},
		func(row *db.Row) error {
			var algorithm string
			var n int64
			if err := row.Scan(&algorithm, &n); err != nil {
				return err
			}
			counts[algorithm] = n
			return nil
		})
	return counts, err
}

// ClaimOneTimeKeys takes the oldest key of one algorithm from each of the devices that has one. A key is given out once: it is
// gone with the commit of this transaction, and nobody sees it before that.
func (tx *Tx) ClaimOneTimeKeys(ctx context.Context, algorithm string, owners []Owner) (map[Owner]OneTimeKey, error) {
	claimed := make(map[Owner]OneTimeKey, len(owners))
	exhausted := false
	err := db.Each(ctx, tx, `
		UPDATE one_time_key SET taken = taken + 1
		WHERE domain_id = $0 AND algorithm = $2 AND (owner, pos) IN (
			SELECT o.owner, MIN(o.pos) FROM one_time_key o
			WHERE o.domain_id = $0 AND o.algorithm = $2 AND o.owner in($1) GROUP BY o.owner)
		RETURNING owner, taken, total, keys`, []any{owners, algorithm},
		func(row *db.Row) error {
			var owner Owner
			var taken, total int
			var packed []byte
			if err := row.Scan(&owner, &taken, &total, &packed); err != nil {
				return err
			}
			key, err := unpackKey(packed, taken-1)
			if err != nil {
				return fmt.Errorf("claim a one-time key: %w", err)
			}
			claimed[owner] = key
			exhausted = exhausted || taken == total
			return nil
		})
	if err != nil || !exhausted {
		return claimed, err
	}
	_, err = tx.Exec(ctx, `
		DELETE FROM one_time_key WHERE domain_id = $0 AND algorithm = $2 AND owner in($1) AND taken >= total`, owners, algorithm)
	return claimed, err
}

// SetFallbackKey replaces the fallback key of an algorithm. The same key again keeps its mark.
func (tx *Tx) SetFallbackKey(ctx context.Context, owner Owner, algorithm string, key OneTimeKey) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO fallback_key (domain_id, owner, algorithm, key_id, key_json, used) VALUES ($0, $1, $2, $3, $4, 0)
		ON CONFLICT (domain_id, owner, algorithm) DO UPDATE SET
			used = CASE WHEN fallback_key.key_id = excluded.key_id AND fallback_key.key_json = excluded.key_json
				THEN fallback_key.used ELSE 0 END,
			key_id = excluded.key_id, key_json = excluded.key_json`, owner, algorithm, key.ID, key.JSON)
	return err
}

// UseFallbackKeys reads the fallback keys of an algorithm of devices that have no other left, and marks them as used.
func (tx *Tx) UseFallbackKeys(ctx context.Context, algorithm string, owners []Owner) (map[Owner]OneTimeKey, error) {
	keys := map[Owner]OneTimeKey{}
	err := db.Each(ctx, tx, `
		UPDATE fallback_key SET used = 1 WHERE domain_id = $0 AND algorithm = $2 AND owner in($1)
		RETURNING owner, key_id, key_json`, []any{owners, algorithm},
		func(row *db.Row) error {
			var owner Owner
			var key OneTimeKey
			if err := row.Scan(&owner, &key.ID, &key.JSON); err != nil {
				return err
			}
			keys[owner] = key
			return nil
		})
	return keys, err
}

// UnusedFallbackKeys lists the algorithms of a device whose fallback key nobody has got yet.
func (tx *Tx) UnusedFallbackKeys(ctx context.Context, owner Owner) ([]string, error) {
	return db.List[string](ctx, tx, `
		SELECT algorithm FROM fallback_key WHERE domain_id = $0 AND owner = $1 AND used = 0 ORDER BY algorithm`, owner)
}

var errPacked = errors.New("stored keys are damaged")

// packKeys writes length and bytes of each ID and each key.
func packKeys(keys []OneTimeKey) []byte {
	var b []byte
	for _, key := range keys {
		b = binary.AppendUvarint(b, uint64(len(key.ID)))
		b = append(b, key.ID...)
		b = binary.AppendUvarint(b, uint64(len(key.JSON)))
		b = append(b, key.JSON...)
	}
	return b
}

// unpackKeys reads what packKeys wrote. The keys are slices of b.
func unpackKeys(b []byte) ([]OneTimeKey, error) {
	keys := make([]OneTimeKey, 0, bundleSize)
	for len(b) > 0 {
		name, key, rest, ok := nextKey(b)
		if !ok {
			return nil, errPacked
		}
		keys, b = append(keys, OneTimeKey{ID: string(name), JSON: key}), rest
	}
	return keys, nil
}

// unpackKey reads the nth of them only.
func unpackKey(b []byte, n int) (OneTimeKey, error) {
	for ; ; n-- {
		name, key, rest, ok := nextKey(b)
		if !ok || n < 0 {
			return OneTimeKey{}, errPacked
		}
		if n == 0 {
			return OneTimeKey{ID: string(name), JSON: key}, nil
		}
		b = rest
	}
}

func nextKey(b []byte) (name, key, rest []byte, ok bool) {
	if name, b, ok = nextField(b); !ok {
		return nil, nil, nil, false
	}
	key, rest, ok = nextField(b)
	return name, key, rest, ok
}

func nextField(b []byte) (field, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}
