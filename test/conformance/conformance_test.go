// Package conformance asks a homeserver from outside for what the specifications promise, endpoint by endpoint.
package conformance

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"konsil/homeserver"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

const server = id.ServerName("klinik.test")

// host is a homeserver with one domain.
func host(t *testing.T) http.Handler {
	t.Helper()
	h, err := homeserver.Open(t.Context(), homeserver.Config{
		DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Settings: homeserver.Settings{CheapPasswords: true, NoRateLimits: true, RegistrationSecret: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	if err := h.Add(t.Context(), server, homeserver.Ordinary, true); err != nil {
		t.Fatal(err)
	}
	return h.Handler()
}

// answer is what came back.
type answer struct {
	status int
	code   string // errcode
}

// ask sends a request without credentials.
func ask(h http.Handler, method, path string) answer {
	r := httptest.NewRequest(method, "http://"+string(server)+path, strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var e struct {
		Code string `json:"errcode"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &e) // files and pages have none
	return answer{w.Code, e.Code}
}

// sample fills a path's parameters with identifiers of the right form.
func sample(path string) string {
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllStringFunc(path, func(p string) string {
		switch p {
		case "{roomId}":
			return "!room:klinik.test"
		case "{userId}":
			return "@anna:klinik.test"
		case "{eventId}", "{parentEventId}", "{threadRoot}":
			return "$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
		case "{roomAlias}":
			return "%23alias:klinik.test"
		case "{roomIdOrAlias}":
			return "!room:klinik.test"
		case "{serverName}":
			return "klinik.test"
		case "{receiptType}":
			return "m.read"
		}
		return "x"
	})
}

//go:embed unserved.txt
var unservedList string

// unserved reads the endpoints that we do not serve, with the reason.
func unserved(t *testing.T) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(unservedList))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Errorf("unserved.txt: %q has no reason", line)
		}
		reasons[name] = strings.TrimSpace(reason)
	}
	return reasons
}

// TestEveryEndpoint walks the list of the specification's endpoints: each is served and asks for the credentials it should, or stands
// in unserved.txt with a reason. What nobody serves is unknown in the words of the specification. CS v1.16 #common-error-codes
func TestEveryEndpoint(t *testing.T) {
	h, reasons := host(t), unserved(t)
	served := map[string]bool{}
	all := slices.Concat(endpoint.ClientServer(), endpoint.ServerServer())
	for _, e := range all {
		path := sample(e.Path())
		got := ask(h, e.Method, path)
		unknown := got.code == "M_UNRECOGNIZED" && (got.status == 404 || got.status == 405)
		served[e.Name] = !unknown
		switch reason := reasons[e.Name]; {
		case unknown && reason == "":
			t.Errorf("%s (%s %s) is not served, and unserved.txt does not say why", e.Name, e.Method, path)
		case unknown:
		case reason != "":
			t.Errorf("%s is served: take it out of unserved.txt", e.Name)
		case e.Auth == endpoint.Token && got != answer{401, "M_MISSING_TOKEN"}:
			t.Errorf("%s (%s %s) without a token: %v", e.Name, e.Method, path, got)
		case e.Auth == endpoint.Server && got != answer{401, "M_UNAUTHORIZED"}:
			t.Errorf("%s (%s %s) without a signature: %v", e.Name, e.Method, path, got)
		case e.Auth == endpoint.None && got.status == 401 && got.code != "" && !interactive[e.Name]:
			t.Errorf("%s (%s %s) is open to everybody: %v", e.Name, e.Method, path, got)
		}
	}
	for name := range maps.Keys(reasons) {
		if !slices.ContainsFunc(all, func(e endpoint.Endpoint) bool { return e.Name == name }) {
			t.Errorf("unserved.txt: no endpoint is called %s", name)
		}
	}
	t.Logf("%d of %d endpoints are served", len(all)-len(reasons), len(all))
}

// interactive endpoints answer 401 to everybody at first: it begins a user-interactive authentication.
var interactive = map[string]bool{endpoint.Register.Name: true}

// TestB17WrongMethods asks each path with a method that it does not know. CS v1.16 #common-error-codes
func TestB17WrongMethods(t *testing.T) {
	h, reasons := host(t), unserved(t)
	methods := map[string][]string{}
	for _, e := range slices.Concat(endpoint.ClientServer(), endpoint.ServerServer()) {
		if reasons[e.Name] == "" {
			methods[e.Path()] = append(methods[e.Path()], e.Method)
		}
	}
	for path, known := range methods {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "BREW"} {
			if slices.Contains(known, method) {
				continue
			}
			if got := ask(h, method, sample(path)); got != (answer{405, "M_UNRECOGNIZED"}) {
				t.Errorf("%s %s: %v", method, path, got)
			}
		}
		for _, twisted := range []string{path + "/", "/" + path, "/x" + path, "/x/.." + path, strings.ToUpper(path)} {
			if got := ask(h, known[0], sample(twisted)); got != (answer{404, "M_UNRECOGNIZED"}) {
				t.Errorf("%s %s: %v", known[0], twisted, got)
			}
		}
	}
}
