package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"konsil/kit/devca"
)

// Network is what several `konsil serve` have in common: a certificate authority that all of them trust.
type Network struct{ ca *devca.Authority }

// NewNetwork makes a certificate authority.
func NewNetwork(tb testing.TB) *Network {
	tb.Helper()
	ca, err := devca.Open(tb.TempDir(), time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return &Network{ca: ca}
}

// Server is a running `konsil serve` with one domain of flavour open. It talks to others over real TLS and keeps its name
// and ports over a restart.
type Server struct {
	*Process
	Name      string // the Matrix server name, localhost:PORT
	ClientAPI string
	Dir       string

	env, args []string
}

// Serve starts a server and waits until it is ready.
func (n *Network) Serve(tb testing.TB, args ...string) *Server {
	tb.Helper()
	ports := freeAddresses(tb, 2)
	client, federation := ports[0], ports[1]
	_, port, _ := strings.Cut(federation, ":")
	dir := tb.TempDir()
	s := &Server{Name: "localhost:" + port, ClientAPI: "http://" + client, Dir: filepath.Join(dir, "data")}
	cert, key := n.certificate(tb, dir)
	s.env = []string{"SSL_CERT_FILE=" + n.ca.CertificateFile()}
	s.args = append([]string{"serve", "--domain", s.Name, "--data", s.Dir, "--client-listen", client,
		"--federation-listen", federation, "--tls-cert", cert, "--tls-key", key,
		"--open-registration", "--cheap-passwords", "--no-rate-limits", "--allow-private-addresses"}, args...)
	s.start(tb)
	return s
}

func (s *Server) start(tb testing.TB) {
	tb.Helper()
	s.Process = start(tb, s.env, s.args...)
	err := s.until("ready", func() bool { return strings.Contains(s.Output(), "msg=ready") })
	if err != nil {
		tb.Fatal(err)
	}
}

// Restart starts the server again, on the same folder and ports; it must have ended before.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.start(tb)
}

// Register makes an account and speaks for it.
func (s *Server) Register(ctx context.Context, localpart, password string) (*Client, error) {
	c := NewClient(s.ClientAPI, "", "")
	return c, c.Register(ctx, localpart, password)
}

// certificate writes a certificate for localhost and its key into files.
func (n *Network) certificate(tb testing.TB, dir string) (certFile, keyFile string) {
	tb.Helper()
	cert, err := n.ca.Issue(time.Now(), "localhost", "127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writeCertificate(tb, certFile, cert)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, keyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return certFile, keyFile
}

func writeCertificate(tb testing.TB, file string, cert tls.Certificate) {
	tb.Helper()
	var blocks []*pem.Block
	for _, der := range cert.Certificate {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	writePEM(tb, file, blocks...)
}

func writePEM(tb testing.TB, file string, blocks ...*pem.Block) {
	tb.Helper()
	var out []byte
	for _, b := range blocks {
		out = append(out, pem.EncodeToMemory(b)...)
	}
	if err := os.WriteFile(file, out, 0o600); err != nil {
		tb.Fatal(err)
	}
}
