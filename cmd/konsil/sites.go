package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// sites are the listeners of the process. All are opened before any is served, so that a taken port is an error at start,
// and all are closed together.
type sites struct {
	env     *environment
	servers []*http.Server
	socket  []net.Listener
}

func newSites(env *environment) *sites { return &sites{env: env} }

// plain opens an HTTP site.
func (s *sites) plain(name, addr string, handler http.Handler) error {
	_, err := s.listen(name, addr, handler)
	return err
}

// tls opens an HTTPS site.
func (s *sites) tls(name, addr string, handler http.Handler, certs ...tls.Certificate) error {
	_, err := s.listen(name, addr, handler, certs...)
	return err
}

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
	s.socket = append(s.socket, socket)
	s.servers = append(s.servers, &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second, // slow headers are an attack (B1)
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          nil,
	})
	return at, nil
}

// run serves all sites and the jobs beside them until ctx ends or one fails; then it stops them, the sites first.
func (s *sites) run(ctx context.Context, jobs ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, server := range s.servers {
		group.Go(func() error {
			if err := server.Serve(s.socket[i]); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	for _, job := range jobs {
		group.Go(func() error { return job(ctx) })
	}
	group.Go(func() error {
		<-ctx.Done()
		s.shutdown()
		return nil
	})
	return group.Wait()
}

// shutdown gives requests a moment to end. Long polls do not end by themselves and are cut: their clients ask again.
func (s *sites) shutdown() {
	const grace = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var all sync.WaitGroup
	for _, server := range s.servers {
		all.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	all.Wait()
}
