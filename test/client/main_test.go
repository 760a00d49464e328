// Package client_test lets Matrix clients that others have written talk to the real program, end to end encrypted, between two
// domains: mautrix-go, matrix-nio (Python) and matrix-js-sdk (Node). It is a module of its own, so that their code and licences
// never come near the server.
package client_test

import (
	"encoding/base64"
	"os"
	"testing"

	"konsil/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// The people of the scenarios, of a hospital and of a practice.
const (
	anna  = "@anna.berg:klinik.localhost"
	clara = "@clara.ernst:praxis.localhost"
	boris = "@boris.dahl:klinik.localhost"
	david = "@david.fink:praxis.localhost"
)

// unpadded is how Matrix writes bytes.
func unpadded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }
