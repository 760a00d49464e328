package main

import (
	"context"
	"log/slog"
	"os"
)

// environment is what every verb gets: until when it may run, where it prints, where it logs.
type environment struct {
	ctx    context.Context
	stdout *os.File // for people and pipes
	stderr *os.File // for complaints and progress
	log    *slog.Logger
}
