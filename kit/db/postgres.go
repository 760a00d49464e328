package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Pools lets the handles of many domains share connections: one pool for each PostgreSQL URL. The zero value is ready, and
// safe for concurrent use.
type Pools struct {
	mu   sync.Mutex
	pool map[string]*pgPool // guarded by mu
}

func (p *Pools) get(url string, maxConns int) (*pgPool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shared := p.pool[url]; shared != nil {
		shared.users++
		return shared, nil
	}
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.ConnectTimeout = connectTimeout
	if maxConns <= 0 {
		maxConns = 16
	}
	shared := &pgPool{cfg: cfg, users: 1, room: make(chan struct{}, maxConns)}
	if p.pool == nil {
		p.pool = map[string]*pgPool{}
	}
	p.pool[url] = shared
	return shared, nil
}

func (p *Pools) put(url string) {
	p.mu.Lock()
	shared := p.pool[url]
	shared.users--
	last := shared.users == 0
	if last {
		delete(p.pool, url)
	}
	p.mu.Unlock()
	if last {
		shared.mu.Lock()
		shared.closed = true
		shared.mu.Unlock()
		shared.closeIdle(0)
	}
}

const (
	connectTimeout = 10 * time.Second
	keepIdle       = time.Minute // after this a connection without work is closed, when somebody looks
	trustIdle      = time.Second // after this a connection is asked whether it lives before it is used
)

// pgPool holds the connections to one database.
type pgPool struct {
	cfg   *pgconn.Config
	users int           // guarded by Pools.mu
	room  chan struct{} // a token for each connection in use

	mu     sync.Mutex
	idle   []*pgConn // the last used last, guarded by mu
	closed bool      // nobody uses the pool any more, guarded by mu
}

// acquire gives an idle connection or makes one.
func (p *pgPool) acquire(ctx context.Context) (*pgConn, error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		c := p.pop()
		if c == nil {
			break
		}
		if time.Since(c.since) < trustIdle || c.pg.Ping(ctx) == nil {
			return c, nil
		}
		c.close()
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, p.cfg)
	if err != nil {
		<-p.room
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return newPgConn(pg), nil
}

func (p *pgPool) pop() *pgConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

// give takes a connection back. One that broke is closed, and the idle ones are not trusted any more.
func (p *pgPool) give(c *pgConn) {
	defer func() { <-p.room }()
	if c.dead || c.queued > 0 || c.status != 'I' {
		c.close()
		if c.dead {
			p.distrust()
		}
		return
	}
	c.since = time.Now() // of the machine: it is its sockets that age
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if closed { // a read that outlived its handle
		c.close()
	}
}

func (p *pgPool) distrust() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.since = time.Time{}
	}
}

// closeIdle closes the connections that had no work for some time.
func (p *pgPool) closeIdle(age time.Duration) {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].since) >= age {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// postgresEngine is one handle's use of a pool.
type postgresEngine struct {
	cfg    Config
	pool   *pgPool
	closed atomic.Bool
}

func openPostgres(cfg Config) (*postgresEngine, error) {
	if cfg.Pools == nil {
		cfg.Pools = &Pools{}
	}
	pool, err := cfg.Pools.get(cfg.URL, cfg.MaxConns)
	if err != nil {
		return nil, err
	}
	return &postgresEngine{cfg: cfg, pool: pool}, nil
}

func (e *postgresEngine) dialect() dialect { return postgres }
func (e *postgresEngine) release()         { e.pool.closeIdle(keepIdle) }

func (e *postgresEngine) close() {
	if !e.closed.Swap(true) {
		e.cfg.Pools.put(e.cfg.URL)
	}
}

func (e *postgresEngine) begin(ctx context.Context, m mode) (session, error) {
	if e.closed.Load() {
		return nil, ErrClosed
	}
	c, err := e.pool.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s := &pgSession{pgConn: c, pool: e.pool, domain: e.cfg.Domain, mode: m}
	switch m { // BEGIN travels with the first statement
	case readMany:
		err = s.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	case write:
		err = s.control("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	}
	if err != nil {
		e.pool.give(c)
		return nil, err
	}
	return s, nil
}

// pgSession is a connection in use.
type pgSession struct {
	*pgConn
	pool   *pgPool
	domain int64
	mode   mode
}

// control queues a statement without arguments: BEGIN, SAVEPOINT and so on.
func (s *pgSession) control(q string) error {
	return s.pgConn.queue(&text{sql: q}, nil, s.domain)
}

func (s *pgSession) exec(ctx context.Context, t *text, args []any) (int64, error) {
	if err := s.pgConn.queue(t, args, s.domain); err != nil {
		return 0, err
	}
	return s.sync(ctx, nil)
}

func (s *pgSession) queue(ctx context.Context, t *text, args []any) error {
	if err := s.pgConn.queue(t, args, s.domain); err != nil {
		return err
	}
	if s.queued >= maxQueued || s.size >= maxQueuedBytes {
		return s.flush(ctx)
	}
	return nil
}

func (s *pgSession) query(ctx context.Context, t *text, args []any) (cursor, error) {
	if err := s.pgConn.queue(t, args, s.domain); err != nil {
		return nil, err
	}
	rows := s.rows(s.stmts[t.sql].fields)
	if _, err := s.sync(ctx, rows); err != nil {
		return nil, err
	}
	return rows, nil
}

func (s *pgSession) flush(ctx context.Context) error {
	if s.queued == 0 {
		return nil
	}
	_, err := s.sync(ctx, nil)
	return err
}

func (s *pgSession) savepoint(ctx context.Context) error { return s.control("SAVEPOINT f") }
func (s *pgSession) keep(ctx context.Context) error      { return s.control("RELEASE SAVEPOINT f") }

func (s *pgSession) undo(ctx context.Context) error {
	if err := s.flush(ctx); err != nil && errors.Is(err, errBroken) {
		return err
	}
	if err := s.control("ROLLBACK TO SAVEPOINT f"); err != nil {
		return err
	}
	if err := s.control("RELEASE SAVEPOINT f"); err != nil {
		return err
	}
	return s.flush(ctx)
}

func (s *pgSession) commit(ctx context.Context) error {
	err := s.control("COMMIT")
	if err == nil {
		_, err = s.sync(ctx, nil)
	}
	if err == nil && s.tag != "COMMIT" { // PostgreSQL answers ROLLBACK to the COMMIT of a failed transaction
		err = fmt.Errorf("%w: it had failed before", errBroken)
	}
	if err != nil {
		s.rollback()
		return err
	}
	s.pool.give(s.pgConn)
	return nil
}

// rollback ends the session whatever its state.
func (s *pgSession) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if s.mode != readOne && !s.dead {
		// The queue goes first: its buffer cannot be emptied, and it holds the BEGIN.
		if err := s.control("ROLLBACK"); err == nil {
			_, _ = s.sync(ctx, nil) // an error shows in dead or status
		}
		if s.status != 'I' && !s.dead && s.control("ROLLBACK") == nil {
			_, _ = s.sync(ctx, nil) // a queued statement had failed, and with it the first ROLLBACK was skipped
		}
	}
	s.pool.give(s.pgConn)
}
