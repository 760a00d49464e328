// Command load measures what Konsil costs: it starts the real program on loopback, drives it through its public APIs and
// reports, for each operation of the budgets, the processor time of the server (and of PostgreSQL), latencies, memory and
// disk. Everything it starts and writes is gone when it ends.
//
//	test/load/run.sh                                    # all figures, on SQLite
//	test/load/run.sh -database postgres -json out.json
//	test/load/run.sh -only 'sent|sync' -profile /tmp/p  # some of them, with a CPU profile of each
//
// It is a program and no test: what it measures depends on the machine, and nothing fails by being slow. Processor time is
// the figure to compare by, for it changes least when the machine has other work; of several rounds the cheapest counts.
// The generator itself works in the same machine but is not counted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binary   string
	database string // sqlite or postgres
	json     string
	profile  string
	only     *regexp.Regexp
	quick    bool
	logLevel string
}

func main() {
	// The last line of defence: a run never outlives this, whatever hangs.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == bareVerb {
		if err := bare(ctx, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
		}
		return
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func readFlags(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("load", flag.ContinueOnError)
	set.StringVar(&o.binary, "binary", "bin/konsil", "the program to measure")
	set.StringVar(&o.database, "database", "sqlite", "sqlite, or postgres: a server started for the run")
	set.StringVar(&o.json, "json", "", "write the figures into this file as JSON")
	set.StringVar(&o.profile, "profile", "", "write a CPU profile of each operation into this folder; costs time and some CPU")
	set.StringVar(&o.logLevel, "log-level", "info", "of the server")
	set.BoolVar(&o.quick, "quick", false, "smaller rooms and fewer rounds: a minute, for a first look")
	only := set.String("only", "", "a regular expression: measure only operations whose name it matches")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if o.database != "sqlite" && o.database != "postgres" {
		return o, fmt.Errorf("-database is sqlite or postgres, not %q", o.database)
	}
	var err error
	o.only, err = regexp.Compile(*only)
	return o, err
}

func run(ctx context.Context, args []string) error {
	o, err := readFlags(args)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	for _, part := range parts {
		if !b.wants(part.figures) {
			continue
		}
		if err := b.try(part); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return b.report(os.Stdout)
}

// part is a group of operations on servers of its own.
type part struct {
	name    string
	figures []string // it may report, for -only
	run     func(b *bench) error
}

// parts in the order they run. Each starts with a fresh folder, so that none pays for another.
var parts = []part{
	{"the machine", bareFigures, (*bench).machine},
	{"messages", messageFigures, (*bench).messages},
	{"rooms and syncs", roomFigures, (*bench).rooms},
	{"devices", deviceFigures, (*bench).devices},
	{"media", mediaFigures, (*bench).media},
	{"federation", federationFigures, (*bench).federation},
	{"disk and starts", diskFigures, (*bench).diskAndStarts},
	{"memory", memoryFigures, (*bench).memory},
}
