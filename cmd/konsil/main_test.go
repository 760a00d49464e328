package main

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"konsil/kit/devca"
)

// konsil runs the program until it ends by itself, and answers its exit code and all it printed.
func konsil(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	outR, out := pipe(t)
	errR, errW := pipe(t)
	texts := make(chan string, 1)
	complaints := make(chan string, 1)
	go func() { raw, _ := io.ReadAll(outR); texts <- string(raw) }()
	go func() { raw, _ := io.ReadAll(errR); complaints <- string(raw) }()
	code = run(t.Context(), args, out, errW)
	_, _ = out.Close(), errW.Close()
	return code, <-texts, <-complaints
}

func pipe(t *testing.T) (*os.File, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, w
}

// file writes a file and answers its name.
func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func has(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s: %q is missing in:\n%s", what, want, text)
		}
	}
}

func TestHelpTeaches(t *testing.T) {
	for verb, wants := range map[string][]string{
		"":             {"Begin with: konsil up", "config example", "domain add"},
		"up":           {"--fresh", "./konsil-data"},
		"serve":        {"konsil config example", "127.0.0.1:8008", "For test suites", "KONSIL_REGISTRATION_SECRET"},
		"domain add":   {"open (Matrix)"},
		"config check": {"without starting anything"},
		"domain list":  {"installation"},
		"config":       {"example"},
		"version":      {"Print the version"},
	} {
		code, out, complaint := konsil(t, append(strings.Fields(verb), "--help")...)
		if code != 0 || complaint != "" {
			t.Errorf("%s --help: %d %s", verb, code, complaint)
		}
		has(t, verb, out, wants...)
	}
	if code, out, _ := konsil(t, "version"); code != 0 || out != "konsil "+version+"\n" {
		t.Errorf("version: %d %q", code, out)
	}
}

func TestWrongCommandsSayWhatIsWrong(t *testing.T) {
	good := file(t, t.TempDir(), "konsil.yaml", exampleConfig)
	for command, want := range map[string]string{
		"nonsense":                      "unexpected argument nonsense",
		"serve":                         "name a configuration file (-c konsil.yaml) or a domain",
		"serve -c /nowhere/konsil.yaml": "no such file",
		"serve -c " + good + " --domain x.example":     "use either -c or flags: --domain",
		"serve -c " + good + " --presence":             "use either -c or flags: --presence",
		"serve --domain x.example --flavour odd":       "open",
		"serve --domain not_a_name!":                   "domains[0].name",
		"domain add not_a_name! --data " + t.TempDir(): "server name",
		"--log-level loud version":                     "loud",
	} {
		code, out, complaint := konsil(t, strings.Fields(command)...)
		if code == 0 {
			t.Errorf("konsil %s succeeds: %s", command, out)
		}
		has(t, command, complaint, want)
		if lines := strings.Count(complaint, "\n"); lines > 6 {
			t.Errorf("konsil %s answers with %d lines", command, lines)
		}
	}
}

func TestConfigCheckFindsEverythingAtOnce(t *testing.T) {
	wrong := file(t, t.TempDir(), "konsil.yaml", `
database: mysql://x
client: {listen: nowhere, public_url: matrix.klinik.example}
federation: {listen: "0.0.0.0:8448", certificate: /nowhere/tls.crt, key: /nowhere/tls.key}
admin: 0.0.0.0:9090
domains:
  - {name: "klinik.example", flavour: pro}
  - {name: "klinik.example", flavour: pro}
  - {name: "kli nik", flavour: amateur}
turn: {uris: ["turn:relay.example"]}
key_servers: ["a b"]
max_upload: -1
appservices: /nowhere
`)
	code, _, complaint := konsil(t, "config", "check", wrong)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	has(t, "check", complaint, wrong, "\ndata:", "\ndatabase:", "\nclient.listen:", "\nclient.public_url:", "\nfederation.certificate, federation.key:",
		"\nadmin:", "\ndomains[1].name: klinik.example stands there twice", "\ndomains[2].name:", "\ndomains[2].flavour:", "\nturn.secret:",
		"\nkey_servers[0]:", "\nmax_upload:", "\nappservices:")
	if code, _, again := konsil(t, "serve", "-c", wrong); code != 1 || !strings.Contains(again, "max_upload") {
		t.Errorf("serve does not check: %d %s", code, again)
	}
}

func TestUnknownKeysAreRefusedWithTheirLine(t *testing.T) {
	wrong := file(t, t.TempDir(), "konsil.yaml", "data: /var/lib/konsil\nclient:\n  lisen: 127.0.0.1:8008\n")
	code, _, complaint := konsil(t, "config", "check", wrong)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	has(t, "check", complaint, wrong, "lisen", "[3:3]")
}

// The example is what people begin with: once its files exist it is right as it stands.
func TestExampleConfigPassesTheCheck(t *testing.T) {
	code, example, _ := konsil(t, "config", "example")
	if code != 0 || example != exampleConfig {
		t.Fatalf("%d %q", code, example)
	}
	dir := t.TempDir()
	ca, err := devca.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(time.Now(), "klinik.example")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	example = strings.NewReplacer(
		"/etc/konsil/tls.crt", file(t, dir, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))),
		"/etc/konsil/tls.key", file(t, dir, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))),
	).Replace(example)
	code, out, complaint := konsil(t, "config", "check", file(t, dir, "konsil.yaml", example))
	if code != 0 || out != "ok: 1 domain(s)\n" {
		t.Errorf("%d %s%s", code, out, complaint)
	}
	commented := strings.NewReplacer("# database:", "database:", "  # shared_secret:", "  shared_secret:").Replace(example)
	if code, _, complaint := konsil(t, "config", "check", file(t, dir, "konsil.yaml", commented)); code != 0 {
		t.Errorf("with what is commented out: %s", complaint)
	}
}

// --data may be mistyped: --fresh empties only what konsil has made.
func TestFreshEmptiesOnlyFoldersOfOurs(t *testing.T) {
	dir := t.TempDir()
	kept := file(t, dir, "thesis.txt", "ten years of work")
	code, _, complaint := konsil(t, "up", "--fresh", "--data", dir, "--listen", "127.0.0.1:0")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	has(t, "up", complaint, dir, "no data of konsil")
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	ours := t.TempDir()
	old := file(t, ours, "registry.db", "")
	if err := emptyFolder(ours); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("a folder of ours was not emptied")
	}
}

func TestOneFolderServesOneProcess(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	code, _, complaint := konsil(t, "up", "--data", dir, "--listen", "127.0.0.1:0")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	has(t, "up", complaint, "another konsil uses")
	unlock()
	again, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestDomainsAreAddedAndListed(t *testing.T) {
	dir := t.TempDir()
	for _, add := range []string{"klinik.example --flavour pro", "praxis.example"} {
		if code, _, complaint := konsil(t, strings.Fields("domain add --data "+dir+" "+add)...); code != 0 {
			t.Fatal(complaint)
		}
	}
	if code, _, complaint := konsil(t, "domain", "add", "--data", dir, "klinik.example"); code != 1 {
		t.Error("a domain is added twice")
	} else {
		has(t, "add", complaint, "exists")
	}
	_, out, _ := konsil(t, "domain", "list", "--data", dir)
	if want := "     1  pro   klinik.example\n     2  open  praxis.example\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

// What the flags say and what a file says reach the homeserver alike.
func TestFlagsAndFileSayTheSame(t *testing.T) {
	fromFile, err := readConfig(file(t, t.TempDir(), "konsil.yaml", `
data: /d
database: postgres://x
client: {listen: "127.0.0.1:1"}
federation: {listen: "127.0.0.1:2", certificate: /c, key: /k}
admin: 127.0.0.1:3
domains: [{name: x.example, flavour: epa}]
registration: {open: true, shared_secret: s}
presence: true
device_names_over_federation: true
url_previews: true
appservices: /a
testing: {no_rate_limits: true, cheap_passwords: true, allow_private_addresses: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	fromFlags, err := serveCmd{Domain: "x.example", Flavour: "epa", Data: "/d", Database: "postgres://x", ClientListen: "127.0.0.1:1",
		FederationListen: "127.0.0.1:2", TLSCert: "/c", TLSKey: "/k", Admin: "127.0.0.1:3", OpenRegistration: true, RegistrationSecret: "s",
		AppServices: "/a", Presence: true, DeviceNames: true, URLPreviews: true, NoRateLimits: true, CheapPasswords: true, AllowPrivate: true}.config()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromFile, fromFlags); diff != "" {
		t.Errorf("file and flags differ (-file +flags):\n%s", diff)
	}
	for _, c := range []config{fromFile, fromFlags} {
		if s := c.settings(); !s.OpenRegistration || s.RegistrationSecret != "s" || !s.Presence || !s.DeviceNames || !s.URLPreviews ||
			s.AppServiceDir != "/a" || !s.NoRateLimits || !s.CheapPasswords || !s.AllowPrivate {
			t.Errorf("something gets lost: %+v", s)
		}
	}
}
