// Package harness starts the real program for tests: on loopback, on ports that the system picks, with its data in a folder
// of the test. It gives typed access to what was started and speaks the Client-Server API as a person's client would.
//
// It knows nothing of the program's inside: what it uses is what anybody can use. Nothing here waits by sleeping; it waits
// for output, for answers and for processes. A Process belongs to one test; a Client may be used by several goroutines, a
// Person by one at a time.
package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// binaryVariable names the program to test. Main sets it when it is not set.
const binaryVariable = "KONSIL_BINARY"

// Main builds the program and runs the tests of a package: func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }.
func Main(m *testing.M) int {
	if os.Getenv(binaryVariable) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "konsil-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the binary:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "konsil")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(binaryVariable, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the program as a release is built. It asks for the module's folder, for its callers live in two modules.
func build(binary string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "konsil").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/konsil")
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// Binary is the path of the program under test.
func Binary(tb testing.TB) string {
	tb.Helper()
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		tb.Fatal("no program to test: call harness.Main in TestMain, or set " + binaryVariable)
	}
	return binary
}

// freeAddresses picks addresses that are free now. Only `konsil serve` needs them, whose server name contains its port. They lie
// below the ports that the system gives to outgoing connections, so that none of these takes one while its server is down.
func freeAddresses(tb testing.TB, n int) []string {
	tb.Helper()
	const lowest, highest, tries = 15000, 32000, 100
	var found []string
	for range tries {
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(highest-lowest)))
		socket, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		defer func() { _ = socket.Close() }() // all at the end: none is picked twice
		if found = append(found, at); len(found) == n {
			return found
		}
	}
	tb.Fatalf("no %d ports are free", n)
	return nil
}
