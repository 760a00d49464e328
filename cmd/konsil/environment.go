package main

import (
	"context"
	"io"
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

func newLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
