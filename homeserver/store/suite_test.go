package store_test

import (
	"context"
	"testing"

	"konsil/homeserver/store"
	"konsil/kit/db/dbtest"
)

// eachStore runs a test on a fresh store of each engine.
func eachStore(t *testing.T, fn func(t *testing.T, d *store.DB)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, url string) {
		d, err := store.Open(context.Background(), store.Config{URL: url, Domain: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		fn(t, d)
	})
}
