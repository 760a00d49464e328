package web

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"konsil/kit/limit"
)

// Server serves a handler until its context ends. TLS is the listener's matter.
type Server struct {
	Handler http.Handler
	Log     *slog.Logger // for what happens below HTTP; nil means slog.Default()
	// Grace is how long running requests may go on after the end, 0 means 10 s.
	Grace time.Duration
}

// Run serves l until ctx ends; then it closes l, lets running requests finish and returns nil.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	logger := s.Log
	if logger == nil {
		logger = slog.Default()
	}
	grace := s.Grace
	if grace == 0 {
		grace = 10 * time.Second
	}
	srv := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: 10 * time.Second, // slowloris; bodies have deadlines of their own (B1)
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    limit.HeaderBytes,
		ErrorLog:          log.New(quiet{logger}, "", 0),
	}
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv.BaseContext = func(net.Listener) context.Context { return base }
	failed := make(chan error, 1)
	go func() { // ends with Shutdown
		failed <- srv.Serve(l)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	polls := time.AfterFunc(min(grace/2, 2*time.Second), cut) // those who wait for news need not wait for the grace to end
	defer polls.Stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // long polls that did not hear of the end
	}
	if serve := <-failed; !errors.Is(serve, http.ErrServerClosed) && err == nil {
		err = serve
	}
	return err
}

// quiet takes net/http's own messages: TLS handshakes of strangers and the like. They hold addresses, so they are for
// debugging only, and not even then for a log that is not discreet.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.Debug("http server", "message", string(p))
	return len(p), nil
}
