package obs_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
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

func TestPseudonyms(t *testing.T) {
	a, b := obs.NewPseudonyms([]byte("key a")), obs.NewPseudonyms([]byte("key b"))
	anna := a.Person("@anna:klinik.test")
	if anna.Key != obs.KeyPerson || strings.Contains(anna.String(), "anna") {
		t.Error(anna)
	}
	if !anna.Equal(a.Person("@anna:klinik.test")) {
		t.Error("the same person has two names")
	}
	if anna.Equal(a.Person("@kurt:klinik.test")) || anna.Equal(b.Person("@anna:klinik.test")) {
		t.Error("two have the same name")
	}
	var _ slog.Attr = anna
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
