package obs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"konsil/kit/obs"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := obs.NewLogger(&out, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud", obs.KeyCount, 3)
	if s := out.String(); strings.Contains(s, "quiet") || !strings.Contains(s, `"count":3`) {
		t.Error(s)
	}
	for _, bad := range [][2]string{{"xml", ""}, {"", "loud"}} {
		if _, err := obs.NewLogger(&out, bad[0], bad[1]); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// What an error quotes of people, rooms and addresses does not reach the log, on whichever way it was handed in.
func TestLogsAreDiscreet(t *testing.T) {
	const event, room = "$abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ", "!abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := obs.NewLogger(&out, format, "debug")
		if err != nil {
			t.Fatal(err)
		}
		cause := errors.New(`PUT https://praxis.test/_matrix/federation/v2/invite/!old:klinik.test/` + event + `: @anna.berg:klinik.test is banned in "` + room + `"`)
		log = log.With("upstream", "@anna.berg:klinik.test").WithGroup("g")
		log.Error("receive", obs.KeyError, fmt.Errorf("tell: %w", cause), slog.Group("more", "alias", "#visite:klinik.test"), obs.KeyCount, 3)
		log.Warn("dial", obs.KeyError, &net.OpError{Op: "dial", Err: errors.New("from 203.0.113.7:5544 to [2001:db8::7]:8448 refused")})
		for _, private := range []string{"anna", "old", event[1:], room[1:], "visite", "203.0.113", "2001:db8"} {
			if strings.Contains(out.String(), private) {
				t.Errorf("%s: %q stands in %s", format, private, &out)
			}
		}
		for _, useful := range []string{"https://praxis.test/_matrix/federation/v2/invite/", "is banned in", "refused", "3"} {
			if !strings.Contains(out.String(), useful) {
				t.Errorf("%s: %q is missing in %s", format, useful, &out)
			}
		}
		names := regexp.MustCompile("@[0-9a-f]{12}").FindAllString(out.String(), -1)
		if len(names) < 2 || names[0] != names[1] {
			t.Errorf("%s: one person has the names %v", format, names)
		}
	}
}

func get(t *testing.T, ready func(context.Context) error, path string) (int, string) {
	t.Helper()
	m := obs.NewMetrics()
	m.Requests("client")("BREW", "/_matrix/client/versions", 418, 3*time.Millisecond, 5)
	m.Counter("events_total", "Events.", "kind").WithLabelValues("local").Add(2)
	m.Histogram("commit_seconds", "Commits.").WithLabelValues().Observe(0.004)
	m.Gauge("domains_awake", "Domains.", func() float64 { return 7 })
	w := httptest.NewRecorder()
	obs.Admin(m, ready).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestAdmin(t *testing.T) {
	code, body := get(t, nil, "/metrics")
	for _, want := range []string{
		`konsil_http_request_seconds_count{api="client",method="other",route="/_matrix/client/versions",status="4xx"} 1`,
		`konsil_events_total{kind="local"} 2`, "konsil_commit_seconds_sum 0.004", "konsil_domains_awake 7", "go_goroutines",
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, without %s", code, want)
		}
	}
	if code, _ := get(t, nil, "/healthz"); code != 200 {
		t.Errorf("healthz %d", code)
	}
	if code, body := get(t, func(context.Context) error { return nil }, "/readyz"); code != 200 {
		t.Errorf("readyz %d %s", code, body)
	}
	if code, body := get(t, func(context.Context) error { return errors.New("migrating") }, "/readyz"); code != 503 || !strings.Contains(body, "migrating") {
		t.Errorf("readyz %d %s", code, body)
	}
	if code, _ := get(t, nil, "/debug/pprof/goroutine"); code != 200 {
		t.Errorf("pprof %d", code)
	}
	if code, _ := get(t, nil, "/nothing"); code != 404 {
		t.Errorf("unknown path %d", code)
	}
}
