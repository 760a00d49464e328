package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"konsil/kit/devca"
)

// bench is one run.
type bench struct {
	options
	ctx     context.Context
	dir     string
	ca      *devca.Authority
	began   time.Time
	running []*server
	figures []figure
}

// figure is one measured value.
type figure struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"`
	Unit   string    `json:"unit"`
	Budget float64   `json:"budget,omitempty"`
	Other  float64   `json:"dendrite,omitempty"`
	Rounds []float64 `json:"rounds,omitempty"` // what the rounds gave, the cheapest is the value
	Note   string    `json:"note,omitempty"`

	floor bool // more is better
}

func newBench(ctx context.Context, o options) (*bench, error) {
	dir, err := os.MkdirTemp("", "konsil-load-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, ctx: ctx, dir: dir, began: time.Now()}
	if b.binary, err = filepath.Abs(o.binary); err != nil {
		return nil, err
	}
	if b.ca, err = devca.Open(dir, time.Now()); err != nil {
		return nil, err
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// try runs a part and ends what it started.
func (b *bench) try(p part) error {
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(b.began).Seconds(), p.name)
	err := p.run(b)
	b.stopAll()
	return err
}

func (b *bench) stopAll() {
	for _, s := range b.running {
		s.end()
	}
	b.running = nil
}

func (b *bench) close() {
	b.stopAll()
	_ = os.RemoveAll(b.dir)
}

// wants says whether any of the figures is asked for.
func (b *bench) wants(names []string) bool { return slices.ContainsFunc(names, b.only.MatchString) }

// scale makes numbers smaller for a quick run.
func (b *bench) scale(n int) int {
	if b.quick {
		return max(1, n/5)
	}
	return n
}

// add notes a figure beside its budget.
func (b *bench) add(name string, value float64, rounds []float64, note string) {
	bud, ok := budgets[name]
	if !ok {
		panic("no budget row for " + name)
	}
	if !b.only.MatchString(name) {
		return
	}
	other := bud.sqlite
	if b.database == "postgres" {
		other = bud.postgres
	}
	f := figure{Name: name, Value: value, Unit: bud.unit, Budget: bud.budget, Other: other, Rounds: rounds, Note: note, floor: bud.floor}
	b.figures = append(b.figures, f)
	fmt.Fprintln(os.Stderr, "          ", f)
}

// load is an operation to repeat.
type load struct {
	name    string // of the figure in milliseconds of CPU per operation
	latency string // of the p50 and p99 figures, "" for none: "NAME, p50" and "NAME, p99"
	rate    string // of the operations per second, "" for none
	rounds  int    // 0 means 5
	ops     int    // per round
	workers int    // 0 means 1
	per     int    // operations that one call does; 0 means 1
	op      func(worker, i int) error
	note    string
}

// cost runs a load and notes what it took. The first round warms up and does not count.
func (b *bench) cost(s *server, l load) error {
	if !b.wants([]string{l.name, l.rate, l.latency + ", p50", l.latency + ", p99"}) {
		return nil
	}
	l = l.normal(b)
	var cpu, rate []float64
	var took []time.Duration
	n := 0
	for round := range l.rounds + 1 {
		r, err := b.round(s, l, n)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		n += l.ops
		if round == 0 {
			continue
		}
		ops := float64(l.ops * l.per)
		cpu = append(cpu, r.cpu.Seconds()*1000/ops)
		rate = append(rate, ops/r.wall.Seconds())
		took = append(took, r.took...)
	}
	if l.name != "" {
		b.add(l.name, slices.Min(cpu), cpu, l.note)
	}
	if l.rate != "" {
		b.add(l.rate, slices.Max(rate), rate, "")
	}
	if l.latency != "" {
		slices.Sort(took)
		b.add(l.latency+", p50", ms(took[len(took)/2]), nil, "")
		if _, ok := budgets[l.latency+", p99"]; ok {
			b.add(l.latency+", p99", ms(took[len(took)*99/100]), nil, "")
		}
	}
	return b.profiled(s, l, n)
}

func (l load) normal(b *bench) load {
	if l.rounds == 0 {
		l.rounds = 5
	}
	if b.quick {
		l.rounds = min(l.rounds, 2)
	}
	l.workers, l.per = max(l.workers, 1), max(l.per, 1)
	return l
}

type roundResult struct {
	cpu, wall time.Duration
	took      []time.Duration
}

// round does the operations from the number first on, spread over the workers.
func (b *bench) round(s *server, l load, first int) (roundResult, error) {
	if err := b.quiet(s); err != nil {
		return roundResult{}, err
	}
	before, err := s.cpu()
	if err != nil {
		return roundResult{}, err
	}
	began := time.Now()
	took := make([]time.Duration, l.ops)
	err = parallel(l.workers, l.ops, func(worker, i int) error {
		t := time.Now()
		err := l.op(worker, first+i)
		took[i] = time.Since(t)
		return err
	})
	wall := time.Since(began)
	if err != nil {
		return roundResult{}, err
	}
	// What an operation sets going behind its answer belongs to it.
	if err := b.quiet(s); err != nil {
		return roundResult{}, err
	}
	after, err := s.cpu()
	return roundResult{cpu: after - before, wall: wall, took: took}, err
}

// quiet waits until the server has nothing to do, or a second.
func (b *bench) quiet(s *server) error {
	const look = 15 * time.Millisecond
	last, err := s.cpu()
	for range 60 {
		if err != nil {
			return err
		}
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(look):
		}
		var now time.Duration
		now, err = s.cpu()
		if now-last < 200*time.Microsecond {
			return err
		}
		last = now
	}
	return nil
}

// parallel calls fn for each number below n, worker by worker.
func parallel(workers, n int, fn func(worker, i int) error) error {
	if workers <= 1 {
		for i := range n {
			if err := fn(0, i); err != nil {
				return err
			}
		}
		return nil
	}
	var all sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = fn(w, i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// profiled repeats a load while the server writes a profile, if profiles are wanted.
func (b *bench) profiled(s *server, l load, first int) error {
	if b.profile == "" || s.admin == "" {
		return nil
	}
	got := make(chan error, 2)
	for _, kind := range []string{"profile", "allocs"} {
		go func() {
			profile, err := get(b.ctx, s.admin+"/debug/pprof/"+kind+"?seconds=4")
			if err == nil {
				name := fileName.ReplaceAllString(l.name, "_") + "." + kind
				err = os.WriteFile(filepath.Join(b.profile, name), profile, 0o644)
			}
			got <- err
		}()
	}
	for {
		if _, err := b.round(s, l, first); err != nil {
			return fmt.Errorf("profile %s: %w", l.name, err)
		}
		first += l.ops
		select {
		case err := <-got:
			return errors.Join(err, <-got)
		default:
		}
	}
}

var fileName = regexp.MustCompile(`[^a-z0-9]+`)

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// certificate writes a certificate for localhost and its key.
func (b *bench) certificate(dir string) (certFile, keyFile string, err error) {
	cert, err := b.ca.Issue(time.Now(), "localhost", "127.0.0.1")
	if err != nil {
		return "", "", err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return "", "", err
	}
	var chain strings.Builder
	for _, der := range cert.Certificate {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Builder takes everything
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	err = errors.Join(os.WriteFile(certFile, []byte(chain.String()), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return certFile, keyFile, err
}
