package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/goccy/go-yaml"

	"konsil/homeserver"
	"konsil/matrix/id"
)

// config is all that `konsil serve` can be told: the configuration file, or the flags that stand for one. Each part is
// handed to its house; nobody else sees the whole.
type config struct {
	Data     string `yaml:"data"`     // folder for databases and media
	Database string `yaml:"database"` // a PostgreSQL URL; empty: an SQLite file per domain below data

	Client     clientListener     `yaml:"client"`
	Federation federationListener `yaml:"federation"`
	Admin      string             `yaml:"admin"` // loopback address for /metrics, /healthz, /readyz, pprof; empty: none

	Domains []domainConfig `yaml:"domains"` // made at start when they are not there yet

	Registration registrationConfig `yaml:"registration"`
	TURN         turnConfig         `yaml:"turn"`
	KeyServers   []string           `yaml:"key_servers"` // notaries, asked when a server's own keys cannot be had
	MaxUpload    int64              `yaml:"max_upload"`  // bytes, default 100 MiB
	Presence     bool               `yaml:"presence"`
	DeviceNames  bool               `yaml:"device_names_over_federation"`
	URLPreviews  bool               `yaml:"url_previews"`
	AppServices  string             `yaml:"appservices"` // folder with registrations, *.yaml

	Testing testingConfig `yaml:"testing"`
}

type clientListener struct {
	Listen    string `yaml:"listen"`     // plain HTTP, for a reverse proxy that ends TLS
	PublicURL string `yaml:"public_url"` // what clients are told; empty: derived from the request
}

type federationListener struct {
	Listen      string `yaml:"listen"` // HTTPS
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

type domainConfig struct {
	Name    string `yaml:"name"`
	Flavour string `yaml:"flavour"` // pro, epa, open
}

type registrationConfig struct {
	Open         bool   `yaml:"open"`
	SharedSecret string `yaml:"shared_secret"`
}

type turnConfig struct {
	URIs   []string `yaml:"uris"`
	Secret string   `yaml:"secret"`
}

// testingConfig holds what no production system may have. Its names say so.
type testingConfig struct {
	NoRateLimits   bool `yaml:"no_rate_limits"`
	CheapPasswords bool `yaml:"cheap_passwords"`
	AllowPrivate   bool `yaml:"allow_private_addresses"` // connect to 127.0.0.0/8, 10.0.0.0/8, …
}

// readConfig reads a file and refuses keys it does not know, with line and column.
func readConfig(file string) (config, error) {
	var c config
	raw, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		return c, fmt.Errorf("%s:\n%s", file, yaml.FormatError(err, false, true))
	}
	return c, nil
}

// complaints collects what is wrong, so that nobody mends one line per start.
type complaints []error

func (c *complaints) add(format string, args ...any) { *c = append(*c, fmt.Errorf(format, args...)) }

// check finds everything that is wrong at once.
func (c config) check() error {
	var wrong complaints
	if c.Data == "" {
		wrong.add("data: name the folder for databases and media")
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") {
		wrong.add("database: must be a postgres:// URL, or empty for SQLite")
	}
	c.checkListeners(&wrong)
	c.checkDomains(&wrong)
	for i, name := range c.KeyServers {
		if _, err := id.ParseServerName(name); err != nil {
			wrong.add("key_servers[%d]: %v", i, err)
		}
	}
	if c.MaxUpload < 0 {
		wrong.add("max_upload: must not be negative")
	}
	if len(c.TURN.URIs) > 0 && c.TURN.Secret == "" {
		wrong.add("turn.secret: the relay's shared secret is missing")
	}
	if c.AppServices != "" {
		if _, err := os.ReadDir(c.AppServices); err != nil {
			wrong.add("appservices: %v", err)
		}
	}
	return errors.Join(wrong...)
}

func (c config) checkListeners(wrong *complaints) {
	if c.Client.Listen == "" {
		wrong.add("client.listen: name an address such as 127.0.0.1:8008")
	}
	for _, at := range []struct{ key, addr string }{
		{"client.listen", c.Client.Listen}, {"federation.listen", c.Federation.Listen}, {"admin", c.Admin}} {
		if _, _, err := net.SplitHostPort(at.addr); at.addr != "" && err != nil {
			wrong.add("%s: %v", at.key, err)
		}
	}
	if host, _, err := net.SplitHostPort(c.Admin); c.Admin != "" && err == nil && host != "localhost" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			wrong.add("admin: must be a loopback address; it shows the inside of the process without a password")
		}
	}
	if u, err := url.Parse(c.Client.PublicURL); c.Client.PublicURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		wrong.add("client.public_url: must be a URL such as https://matrix.klinik.example")
	}
	if c.Federation.Listen != "" {
		if _, err := tls.LoadX509KeyPair(c.Federation.Certificate, c.Federation.Key); err != nil {
			wrong.add("federation.certificate, federation.key: %v", err)
		}
	}
}

func (c config) checkDomains(wrong *complaints) {
	if len(c.Domains) == 0 {
		wrong.add("domains: name at least one")
	}
	seen := map[string]bool{}
	for i, d := range c.Domains {
		if _, err := id.ParseServerName(d.Name); err != nil {
			wrong.add("domains[%d].name: %v", i, err)
		}
		if seen[d.Name] {
			wrong.add("domains[%d].name: %s stands there twice", i, d.Name)
		}
		seen[d.Name] = true
		if _, err := homeserver.ParseFlavour(d.Flavour); err != nil {
			wrong.add("domains[%d].flavour: %v", i, err)
		}
	}
}

// settings is the homeserver's part.
func (c config) settings() homeserver.Settings {
	s := homeserver.Settings{
		OpenRegistration:   c.Registration.Open,
		RegistrationSecret: c.Registration.SharedSecret,
		CheapPasswords:     c.Testing.CheapPasswords,
		NoRateLimits:       c.Testing.NoRateLimits,
		AllowPrivate:       c.Testing.AllowPrivate,
		Presence:           c.Presence,
		DeviceNames:        c.DeviceNames,
		MaxUploadBytes:     c.MaxUpload,
		TURN:               homeserver.TURN{URIs: c.TURN.URIs, Secret: c.TURN.Secret},
		URLPreviews:        c.URLPreviews,
		AppServiceDir:      c.AppServices,
		PublicBaseURL:      c.Client.PublicURL,
	}
	for _, name := range c.KeyServers {
		s.KeyServers = append(s.KeyServers, id.ServerName(name))
	}
	return s
}

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Say all that is wrong with a configuration file, without starting anything."`
	Example configExampleCmd `cmd:"" help:"Print a commented example."`
}

type configCheckCmd struct {
	File string `arg:"" help:"The configuration file." type:"existingfile"`
}

// Run checks the file.
func (cmd configCheckCmd) Run(env *environment) error {
	c, err := readConfig(cmd.File)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("%s:\n%w", cmd.File, err)
	}
	_, err = fmt.Fprintln(env.stdout, "ok:", len(c.Domains), "domain(s)")
	return err
}

type configExampleCmd struct{}

// Run prints the example.
func (configExampleCmd) Run(env *environment) error {
	_, err := fmt.Fprint(env.stdout, exampleConfig)
	return err
}

const exampleConfig = `# konsil.yaml: what konsil serve -c konsil.yaml reads. Unknown keys are refused.
data: /var/lib/konsil              # databases (SQLite) and media; back up this folder
# database: postgres://konsil@/konsil?host=/run/postgresql   # instead of SQLite
client:
  listen: 127.0.0.1:8008           # plain HTTP: put a reverse proxy with TLS in front
  public_url: https://matrix.klinik.example
federation:
  listen: 0.0.0.0:8448             # HTTPS
  certificate: /etc/konsil/tls.crt
  key: /etc/konsil/tls.key
admin: 127.0.0.1:9090              # /metrics, /healthz, /readyz, pprof; loopback only
domains:
  - name: klinik.example
    flavour: pro                   # pro, epa, open
registration:
  open: false
  # shared_secret: a long random text, for konsil's and Synapse's registration tools
presence: false
max_upload: 104857600
`
