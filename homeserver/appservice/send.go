package appservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"konsil/client/asclient"
	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/mxerr"
)

// sender hands one service what waits for it, one transaction after the other.
type sender struct {
	cfg     Config
	service *account.AppService
	wake    chan struct{} // holds one hint: something waits, or the service was heard of
	due     atomic.Int64  // ms: when it is to be tried again, 0 while nothing waits
	failing atomic.Bool   // the last attempt failed
	atOnce  atomic.Bool   // the service was heard of: its time has come
}

func newSender(cfg Config, s *account.AppService) *sender {
	return &sender{cfg: cfg, service: s, wake: make(chan struct{}, 1)}
}

func (s *sender) hint() {
	select {
	case s.wake <- struct{}{}:
	default: // there is one already
	}
}

func (s *sender) retryNow() {
	s.atOnce.Store(true)
	s.hint()
}

func (s *sender) now() int64 { return clock.Millis(s.cfg.Clock) }

func (s *sender) target() asclient.Service {
	return asclient.Service{URL: s.service.URL, Token: s.service.HSToken}
}

const (
	maxEvents  = 100 // of one transaction
	firstPause = time.Second
	longPause  = time.Hour
)

// run sends until ctx ends. It fails only where the store does.
func (s *sender) run(ctx context.Context) error {
	for ctx.Err() == nil {
		t, events, err := s.next(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		switch {
		case len(events) == 0:
			s.due.Store(0)
			s.wait(ctx, 0)
			continue
		case t.RetryAt > s.now() && !s.atOnce.Swap(false):
			s.due.Store(t.RetryAt)
			s.wait(ctx, t.RetryAt)
			continue
		}
		s.due.Store(s.now()) // a domain that sleeps now has something to do when it wakes
		if err := s.attempt(ctx, t, events); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// wait waits for a hint, or for a time (0: for ever).
func (s *sender) wait(ctx context.Context, until int64) {
	var timer <-chan time.Time
	if until > 0 {
		t := s.cfg.Clock.NewTimer(time.Duration(until-s.now()) * time.Millisecond)
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-timer:
	case <-s.wake:
	case <-ctx.Done():
	}
}

// next reads the transaction under way, or makes one of what waits.
func (s *sender) next(ctx context.Context) (t store.AppServiceTransaction, events []store.WaitingEvent, err error) {
	err = s.cfg.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if t, err = tx.AppServiceTransaction(ctx, s.service.ID); err != nil {
			return err
		}
		events, err = tx.WaitingForAppService(ctx, s.service.ID, t.Last, maxEvents)
		return err
	})
	if err != nil {
		return t, nil, fmt.Errorf("read what waits for an application service: %w", err)
	}
	s.failing.Store(t.Failures > 0)
	if t.Last != 0 || len(events) == 0 {
		return t, events, nil
	}
	// Before the first attempt it is noted where the transaction ends: a crash must not make it another one.
	t.Last = events[len(events)-1].Pos
	err = s.cfg.Store.Write(ctx, func(tx *store.Tx) error { return tx.SetAppServiceTransaction(ctx, s.service.ID, t) })
	return t, events, err
}

// attempt sends a transaction once, and notes what came of it.
func (s *sender) attempt(ctx context.Context, t store.AppServiceTransaction, events []store.WaitingEvent) error {
	body, err := s.write(ctx, events)
	if err != nil {
		return err
	}
	// Positions are used once in a domain; a service may serve several domains.
	txnID := string(s.cfg.Server) + "-" + strconv.FormatInt(events[0].Pos, 10)
	sent := s.cfg.Client.Transaction(ctx, s.target(), txnID, body)
	if sent != nil && ctx.Err() != nil {
		return nil // it was us who broke off
	}
	s.failing.Store(sent != nil)
	if sent == nil {
		if t.Failures > 0 {
			s.cfg.Log.Info("application service is back", obs.KeyService, s.service.ID, obs.KeyFailures, t.Failures)
		}
		err = s.cfg.Store.Write(ctx, func(tx *store.Tx) error { return tx.EndAppServiceTransaction(ctx, s.service.ID, t.Last) })
		if err != nil {
			return fmt.Errorf("end a transaction: %w", err)
		}
		return nil
	}
	if t.Failures++; t.Failures == 1 {
		s.cfg.Log.Warn("application service takes no transaction, is tried again", obs.KeyService, s.service.ID, obs.KeyError, sent)
	}
	t.RetryAt = s.now() + pause(t.Failures).Milliseconds()
	err = s.cfg.Store.Write(ctx, func(tx *store.Tx) error { return tx.SetAppServiceTransaction(ctx, s.service.ID, t) })
	if err != nil {
		return fmt.Errorf("note a failed transaction: %w", err)
	}
	return nil
}

// pause doubles with each failure in a row.
func pause(failures int64) time.Duration {
	if failures > 12 {
		return longPause
	}
	return min(firstPause<<(failures-1), longPause)
}

// write makes the events of a transaction.
func (s *sender) write(ctx context.Context, waiting []store.WaitingEvent) ([]json.RawMessage, error) {
	nids := make([]int64, len(waiting))
	for i, w := range waiting {
		nids[i] = w.Event
	}
	evs, err := s.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return nil, fmt.Errorf("read events for an application service: %w", err)
	}
	body, err := s.cfg.Rooms.ClientEvents(ctx, room.Format{}, evs)
	if err != nil {
		return nil, fmt.Errorf("write events for an application service: %w", err)
	}
	return body, nil
}

// Ping asks a service whether it is there, and how long it took to say so. AS v1.16 #pinging
func (m *Mover) Ping(ctx context.Context, service *account.AppService, txnID string) (time.Duration, error) {
	for _, s := range m.senders {
		if s.service != service {
			continue
		}
		begun := s.cfg.Clock.Now()
		if err := pingRefusal(s.cfg.Client.Ping(ctx, s.target(), txnID)); err != nil {
			return 0, err
		}
		return s.cfg.Clock.Now().Sub(begun), nil
	}
	return 0, mxerr.New(http.StatusBadRequest, mxerr.CodeURLNotSet, "The application service has no URL")
}

func pingRefusal(err error) error {
	var status *asclient.ErrStatus
	var network net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return mxerr.New(http.StatusBadGateway, mxerr.CodeBadStatus, "Ping returned status %d", status.Status).
			With("status", status.Status).With("body", status.Body)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return mxerr.New(http.StatusGatewayTimeout, mxerr.CodeConnectionTimeout, "The application service did not answer in time")
	}
	return mxerr.New(http.StatusBadGateway, mxerr.CodeConnectionFailed, "The application service could not be reached")
}
