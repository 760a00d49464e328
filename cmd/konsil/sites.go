package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/kit/web"
)

// sites are the listeners of the process. All are opened before any is served, so that a taken port is an error at start,
// and all are closed together.
type sites struct {
	env  *environment
	open []site
}

type site struct {
	socket  net.Listener
	handler http.Handler
}

// grace is how long requests under way may go on when the process ends. Long polls are cut earlier: their clients ask again.
const grace = 2 * time.Second

// listen opens a site and says where; with certificates it speaks TLS.
func (s *sites) listen(name, addr string, handler http.Handler, certs ...tls.Certificate) (net.Addr, error) {
	socket, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open %s port: %w", name, err)
	}
	at := socket.Addr()
	if len(certs) > 0 {
		socket = tls.NewListener(socket, &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	s.open = append(s.open, site{socket, handler})
	return at, nil
}

// run serves all sites and the jobs beside them until ctx ends or one fails; then it stops them.
func (s *sites) run(ctx context.Context, jobs ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, at := range s.open {
		server := web.Server{Handler: at.handler, Log: s.env.log, Grace: grace}
		group.Go(func() error { return server.Run(ctx, at.socket) })
	}
	for _, job := range jobs {
		group.Go(func() error { return job(ctx) })
	}
	return group.Wait()
}
