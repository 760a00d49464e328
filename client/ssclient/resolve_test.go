package ssclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"konsil/client/ssclient"
	"konsil/matrix/id"
)

var ctx = context.Background()

// version asks for the version and says whether the server was reached.
func (r *rig) version(server id.ServerName) error {
	name, _, err := r.client.Version(ctx, server)
	if err == nil && name != "Other" {
		r.t.Fatalf("answered by %q", name)
	}
	return err
}

// SS v1.16 #resolving-server-names, step by step: who is connected to, what certificate is asked for, what Host is sent.
func TestServerNamesAreResolvedStepByStep(t *testing.T) {
	t.Run("1 IP literal with port", func(t *testing.T) {
		r := newRig(t)
		var host string
		port := r.serve(answering(&host, versionBody), "127.0.0.1")
		name := onPort("127.0.0.1", port)
		if err := r.version(name); err != nil {
			t.Fatal(err)
		}
		if host != string(name) {
			t.Errorf("Host %q, want %q", host, name)
		}
	})
	t.Run("2 name with port", func(t *testing.T) {
		r := newRig(t)
		var host string
		port := r.serve(answering(&host, versionBody), "named.test")
		r.dns.hosts["named.test"] = "127.0.0.1"
		name := onPort("named.test", port)
		if err := r.version(name); err != nil {
			t.Fatal(err)
		}
		if host != string(name) {
			t.Errorf("Host %q, want %q", host, name)
		}
		if r.dns.count("_matrix-fed._tcp.named.test") != 0 {
			t.Error("SRV was asked for though the port was given")
		}
	})
	t.Run("2 the certificate is for the host name", func(t *testing.T) {
		r := newRig(t)
		var host string
		port := r.serve(answering(&host, versionBody), "another.test")
		r.dns.hosts["named.test"] = "127.0.0.1"
		if err := r.version(onPort("named.test", port)); !unreachable(err) {
			t.Errorf("a certificate for another name was accepted: %v", err)
		}
	})
	t.Run("3.1 well-known with IP literal", func(t *testing.T) {
		r := newRig(t)
		var host string
		port := r.serve(answering(&host, versionBody), "127.0.0.1")
		r.dns.hosts["org.test"] = "127.0.0.1"
		r.wellKnown(delegating(onPort("127.0.0.1", port)), "org.test")
		if err := r.version("org.test"); err != nil {
			t.Fatal(err)
		}
		if want := string(onPort("127.0.0.1", port)); host != want {
			t.Errorf("Host %q, want %q", host, want)
		}
	})
	t.Run("3.2 well-known with name and port", func(t *testing.T) {
		r := newRig(t)
		var host string
		port := r.serve(answering(&host, versionBody), "matrix.org.test")
		r.dns.hosts["org.test"], r.dns.hosts["matrix.org.test"] = "127.0.0.1", "127.0.0.1"
		r.wellKnown(delegating(onPort("matrix.org.test", port)), "org.test")
		if err := r.version("org.test"); err != nil {
			t.Fatal(err)
		}
		if want := string(onPort("matrix.org.test", port)); host != want {
			t.Errorf("Host %q, want %q", host, want)
		}
	})
	for _, service := range []string{"_matrix-fed", "_matrix"} {
		t.Run("3.3 and 3.4 well-known, then SRV "+service, func(t *testing.T) {
			r := newRig(t)
			var host string
			port := r.serve(answering(&host, versionBody), "matrix.org.test") // not for the SRV target
			r.dns.hosts["org.test"] = "127.0.0.1"
			r.wellKnown(delegating("matrix.org.test"), "org.test")
			r.srv(service+"._tcp.matrix.org.test", port)
			if err := r.version("org.test"); err != nil {
				t.Fatal(err)
			}
			if host != "matrix.org.test" {
				t.Errorf("Host %q, want the delegated name without port", host)
			}
		})
		t.Run("4 and 5 no well-known, SRV "+service, func(t *testing.T) {
			r := newRig(t)
			var host string
			port := r.serve(answering(&host, versionBody), "org.test")
			r.srv(service+"._tcp.org.test", port)
			if err := r.version("org.test"); err != nil {
				t.Fatal(err)
			}
			if host != "org.test" {
				t.Errorf("Host %q, want the server name", host)
			}
		})
	}
	t.Run("6 nothing: port 8448", func(t *testing.T) {
		if got := ssclient.Target("org.test"); got != "org.test:0" {
			t.Errorf("target %s is not one to be discovered", got)
		}
		if got := ssclient.Target("1.2.3.4"); got != "1.2.3.4:8448" {
			t.Errorf("target %s", got)
		}
		if got := ssclient.Target("[2001:db8::1]:99"); got != "[2001:db8::1]:99" {
			t.Errorf("target %s", got)
		}
	})
}

func delegating(to id.ServerName) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"m.server":%q}`, to)
	}
}

// An answer is kept as long as it says, within bounds; SRV records and their absence are remembered as well.
func TestWellKnownIsCachedWithinBounds(t *testing.T) {
	for _, c := range []struct {
		name, header string
		after        time.Duration
		again        bool
	}{
		{"default of a day", "", 23 * time.Hour, false},
		{"default of a day ends", "", 25 * time.Hour, true},
		{"max-age", "max-age=3600", 59 * time.Minute, false},
		{"max-age ends", "max-age=3600", 61 * time.Minute, true},
		{"no caching still is five minutes", "no-store", 4 * time.Minute, false},
		{"zero still is five minutes", "max-age=0", 4 * time.Minute, false},
		{"no caching ends", "no-store", 6 * time.Minute, true},
		{"a year is two days", "max-age=31536000", 49 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var host string
			var fetched atomic.Int32
			port := r.serve(answering(&host, versionBody), "m.test")
			r.dns.hosts["org.test"], r.dns.hosts["m.test"] = "127.0.0.1", "127.0.0.1"
			r.wellKnown(func(w http.ResponseWriter, req *http.Request) {
				fetched.Add(1)
				if c.header != "" {
					w.Header().Set("Cache-Control", c.header)
				}
				delegating(onPort("m.test", port))(w, req)
			}, "org.test")
			if err := r.version("org.test"); err != nil {
				t.Fatal(err)
			}
			r.clock.Advance(c.after)
			if err := r.version("org.test"); err != nil {
				t.Fatal(err)
			}
			if again := fetched.Load() == 2; again != c.again {
				t.Errorf("fetched %d times", fetched.Load())
			}
		})
	}
}

// A host without the file is asked again later and later; while a good answer is not too old, errors do not displace it.
func TestFailingWellKnownIsNotAskedForEachTime(t *testing.T) {
	r := newRig(t)
	var host string
	var fetched atomic.Int32
	broken := false
	port := r.serve(answering(&host, versionBody), "org.test", "m.test")
	r.dns.hosts["org.test"], r.dns.hosts["m.test"] = "127.0.0.1", "127.0.0.1"
	r.wellKnown(func(w http.ResponseWriter, req *http.Request) {
		fetched.Add(1)
		if broken {
			http.Error(w, "gone", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "max-age=600")
		delegating(onPort("m.test", port))(w, req)
	}, "org.test")
	if err := r.version("org.test"); err != nil {
		t.Fatal(err)
	}
	broken = true
	r.clock.Advance(11 * time.Minute)
	if err := r.version("org.test"); err != nil {
		t.Fatalf("a server error displaced a good answer: %v", err)
	}
	for range 10 {
		if err := r.version("org.test"); err != nil {
			t.Fatal(err)
		}
	}
	if fetched.Load() != 2 {
		t.Errorf("fetched %d times, want 2", fetched.Load())
	}
	// Three days later the old answer counts no more; SRV says nothing, and port 8448 is nobody's here.
	r.clock.Advance(72 * time.Hour)
	if err := r.version("org.test"); err == nil {
		t.Error("a well-known answer outlived two days of errors")
	}
}

func TestBadWellKnownFilesAreIgnored(t *testing.T) {
	big := `{"m.server":"m.test","x":"` + strings.Repeat("a", 100<<10) + `"}`
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no m.server":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) },
		"wrong type":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"m.server":5}`) },
		"no server name": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"m.server":"a b/../c"}`) },
		"status":         func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) },
		"too large":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, big) },
		"redirect loop": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusFound)
		},
		"redirect to http": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+r.URL.Path, http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var host string
			port := r.serve(answering(&host, versionBody), "org.test")
			r.dns.hosts["org.test"] = "127.0.0.1"
			r.srv("_matrix-fed._tcp.org.test", port)
			r.wellKnown(handler, "org.test")
			if err := r.version("org.test"); err != nil || host != "org.test" {
				t.Errorf("discovery did not go on with SRV: %v, Host %q", err, host)
			}
		})
	}
}

func TestWellKnownRedirectsAreFollowed(t *testing.T) {
	r := newRig(t)
	var host string
	port := r.serve(answering(&host, versionBody), "m.test")
	r.dns.hosts["org.test"], r.dns.hosts["m.test"] = "127.0.0.1", "127.0.0.1"
	r.wellKnown(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/elsewhere" {
			delegating(onPort("m.test", port))(w, req)
			return
		}
		http.Redirect(w, req, "/elsewhere", http.StatusMovedPermanently)
	}, "org.test")
	if err := r.version("org.test"); err != nil {
		t.Fatal(err)
	}
}

// A broken DNS server delays nobody for long and is asked again soon.
func TestFailingSRVLookupsFallBackToThePort(t *testing.T) {
	r := newRig(t)
	r.dns.fail = errors.New("server misbehaving")
	r.dns.hosts["org.test"] = "127.0.0.1"
	start := time.Now()
	if err := r.version("org.test"); !unreachable(err) {
		t.Fatalf("nobody listens at 8448: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("failing took %v", took)
	}
}

// A30: whatever a name, a redirect or an SRV record says, the address is checked when it is connected to.
func TestA30PrivateAddressesAreRefusedAtConnectTime(t *testing.T) {
	r := newRig(t, func(cfg *ssclient.NetworkConfig) { cfg.AllowPrivate = false })
	var host string
	port := r.serve(answering(&host, versionBody), "127.0.0.1", "inside.test", "inside.localhost")
	r.dns.hosts["inside.test"] = "127.0.0.1"
	r.dns.hosts["mapped.test"] = "::ffff:127.0.0.1"
	r.dns.hosts["metadata.test"] = "169.254.169.254"
	for _, name := range []id.ServerName{onPort("127.0.0.1", port), onPort("inside.test", port), onPort("mapped.test", port),
		onPort("inside.localhost", port), "metadata.test:80"} {
		if err := r.version(name); !unreachable(err) || !strings.Contains(err.Error(), "not a public one") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if host != "" {
		t.Error("a private server was reached")
	}
}

func FuzzWellKnown(f *testing.F) {
	f.Add([]byte(`{"m.server":"matrix.org:443"}`))
	f.Add([]byte(`{"m.server":"[::1]"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		server, err := ssclient.ParseWellKnown(bytes.Clone(body))
		if err != nil {
			return
		}
		if again, err := id.ParseServerName(string(server)); err != nil || again != server {
			t.Errorf("%q is no server name: %v", server, err)
		}
	})
}
