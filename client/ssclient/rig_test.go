package ssclient_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/kit/clock"
	"konsil/kit/devca"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// fakeDNS answers what it was told and counts what it was asked.
type fakeDNS struct {
	mu    sync.Mutex
	hosts map[string]string     // name → address
	srv   map[string][]*net.SRV // "_service._tcp.name"
	asked map[string]int        // by name
	fail  error                 // for SRV
}

func newDNS() *fakeDNS {
	return &fakeDNS{hosts: map[string]string{}, srv: map[string][]*net.SRV{}, asked: map[string]int{}}
}

func (d *fakeDNS) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	full := "_" + service + "._" + proto + "." + name
	d.asked[full]++
	if d.fail != nil {
		return "", nil, d.fail
	}
	if found := d.srv[full]; len(found) > 0 {
		return full, found, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: full, IsNotFound: true}
}

func (d *fakeDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[host]++
	if text, ok := d.hosts[host]; ok {
		return []netip.Addr{netip.MustParseAddr(text)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (d *fakeDNS) count(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[name]
}

// rig is a client before a set of TLS servers on loopback.
type rig struct {
	t       testing.TB
	dns     *fakeDNS
	ca      *devca.Authority
	clock   *clock.Fake
	network *ssclient.Network
	client  *ssclient.Client
}

func newRig(t testing.TB, change ...func(*ssclient.NetworkConfig)) *rig {
	t.Helper()
	ca, err := devca.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dns: newDNS(), ca: ca, clock: clock.NewFake(time.Time{})}
	cfg := ssclient.NetworkConfig{DNS: r.dns, Roots: ca.Pool(), AllowPrivate: true, Clock: r.clock, ConnectTimeout: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	r.network = ssclient.NewNetwork(cfg)
	t.Cleanup(r.network.Close)
	key, err := sign.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r.client = ssclient.New(ssclient.Config{Server: "us.test", Key: key, Network: r.network})
	// Without a well-known server of its own a test gets "connection refused", and quickly.
	r.network.SetWellKnownPort("1")
	return r
}

// serve starts a TLS server whose certificate is for the names, and gives its port.
func (r *rig) serve(handler http.Handler, names ...string) int {
	r.t.Helper()
	cert, err := r.ca.Issue(time.Now(), names...)
	if err != nil {
		r.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	r.t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// wellKnown serves well-known files.
func (r *rig) wellKnown(handler http.HandlerFunc, names ...string) {
	r.t.Helper()
	r.network.SetWellKnownPort(strconv.Itoa(r.serve(handler, names...)))
}

func (r *rig) srv(name string, port int) {
	r.dns.srv[name] = []*net.SRV{{Target: "srv-target.test.", Port: uint16(port)}}
	r.dns.hosts["srv-target.test"] = "127.0.0.1"
}

// answering gives a fixed answer and remembers the Host header.
func answering(host *string, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*host = r.Host
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	})
}

const versionBody = `{"server":{"name":"Other","version":"1"}}`

func unreachable(err error) bool {
	var u *ssclient.Unreachable
	return errors.As(err, &u)
}

func isMalformed(err error) bool {
	var m *ssclient.Malformed
	return errors.As(err, &m)
}

func onPort(host string, port int) id.ServerName {
	return id.ServerName(net.JoinHostPort(host, strconv.Itoa(port)))
}
