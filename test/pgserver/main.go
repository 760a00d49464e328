// Command pgserver runs a command with a PostgreSQL server of its own, so that all test processes share one:
//
//	go run ./test/pgserver -- go test ./...
//
// Without PostgreSQL on the machine the command runs all the same; the tests skip that engine.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"konsil/kit/db/dbtest"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: pgserver -- command…")
		return 2
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	if os.Getenv(dbtest.Env) == "" {
		server, err := dbtest.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, "pgserver:", err)
		} else {
			defer func() { _ = server.Stop() }()
			cmd.Env = append(cmd.Env, dbtest.Env+"="+server.URL)
		}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	}
	fmt.Fprintln(os.Stderr, "pgserver:", err)
	return 1
}
