package devca_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"konsil/kit/devca"
)

func TestIssuedCertificatesAreTrustedAfterReopening(t *testing.T) {
	dir := t.TempDir()
	first, err := devca.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := first.Issue(time.Now(), "klinik.localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := devca.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	defer srv.Close()
	for _, name := range []string{"klinik.localhost", "127.0.0.1"} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: again.Pool(), ServerName: name}}}
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = resp.Body.Close()
	}
	other := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "klinik.localhost"}}}
	if resp, err := other.Get(srv.URL); err == nil {
		_ = resp.Body.Close()
		t.Error("a client without the root trusted the certificate")
	}
}

func TestTheKeyIsReadableByItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := devca.Open(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of ca.key is %o", mode)
	}
}

func TestADamagedRootIsAnErrorNotANewRoot(t *testing.T) {
	dir := t.TempDir()
	if _, err := devca.Open(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := devca.Open(dir, time.Now()); err == nil {
		t.Error("opened a damaged root")
	}
}
