// Command konsil is the TI-Messenger in one program: a verb per job. `konsil up` starts a small federation on this machine,
// `konsil serve` is production.
//
// This package reads flags, environment and configuration, checks all of it before anything starts, hands each house its
// part and prints what people want to see. It decides nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"konsil/kit/obs"
)

// version is set by the release build (-ldflags "-X main.version=…").
var version = "development"

type cli struct {
	Up      upCmd      `cmd:"" help:"Start a small federation on this machine: a hospital, a practice, an insurer and a stranger, each a Matrix domain with two users and an administrator. Everything lives in one folder; nothing leaves this machine."`
	Serve   serveCmd   `cmd:"" help:"Serve Matrix domains: one from flags alone, or those of a configuration file."`
	Domain  domainCmd  `cmd:"" help:"List or add the domains of an installation."`
	Config  configCmd  `cmd:"" help:"Check a configuration file, or print an example."`
	Version versionCmd `cmd:"" help:"Print the version."`

	LogLevel  string `help:"What to log: debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"KONSIL_LOG_LEVEL"`
	LogFormat string `help:"How to log: text or json." default:"text" enum:"text,json" env:"KONSIL_LOG_FORMAT"`
}

func main() {
	// The first signal stops cleanly: requests under way are answered, queues are on disk already. A second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main for tests too.
func run(ctx context.Context, args []string, stdout, stderr *os.File) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("konsil"),
		kong.Description("The TI-Messenger in one program: Matrix homeservers for the German health system.\n\nBegin with: konsil up"),
		kong.Writers(stdout, stderr),
		kong.ShortUsageOnError(),
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "konsil:", err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help was printed
		return exit
	}
	if err != nil {
		parser.FatalIfErrorf(err)
		return 2
	}
	lines := obs.NewLines(stderr)
	defer lines.Flush()
	logger, err := obs.NewLogger(lines, c.LogFormat, c.LogLevel)
	if err != nil {
		fmt.Fprintln(stderr, "konsil:", err)
		return 2
	}
	env := &environment{ctx: ctx, stdout: stdout, stderr: stderr, log: logger}
	switch err := parsed.Run(env); {
	case err == nil, errors.Is(err, context.Canceled):
		return 0
	default:
		fmt.Fprintln(stderr, "konsil:", err)
		return 1
	}
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(env *environment) error {
	_, err := fmt.Fprintln(env.stdout, "konsil", version)
	return err
}
