package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/alecthomas/kong"

	"konsil/client/ssclient"
	"konsil/homeserver"
	"konsil/homeserver/store"
	"konsil/kit/obs"
	"konsil/matrix/id"
)

type serveCmd struct {
	Config string `short:"c" help:"Configuration file, instead of the flags below. See: konsil config example" placeholder:"FILE" type:"existingfile"`

	Domain           string `help:"Serve this one Matrix server name." placeholder:"NAME"`
	Flavour          string `help:"By whose rules: open (Matrix), pro or epa (TI-Messenger)." default:"open" enum:"open,pro,epa"`
	Data             string `help:"Folder for databases and media." default:"./konsil-data" type:"path"`
	Database         string `help:"A PostgreSQL URL instead of SQLite files." placeholder:"URL"`
	ClientListen     string `help:"Address for clients, plain HTTP." default:"127.0.0.1:8008"`
	FederationListen string `help:"Address for other servers, HTTPS; needs the TLS files." placeholder:"ADDR"`
	TLSCert          string `name:"tls-cert" help:"Certificate chain for the federation, PEM." placeholder:"FILE" type:"path"`
	TLSKey           string `name:"tls-key" help:"Its private key, PEM." placeholder:"FILE" type:"path"`
	Admin            string `help:"Loopback address for metrics, health and pprof." placeholder:"ADDR"`

	OpenRegistration   bool   `help:"Let anybody register."`
	RegistrationSecret string `help:"Secret of the shared-secret registration API." placeholder:"TEXT" env:"KONSIL_REGISTRATION_SECRET"`
	AppServices        string `name:"appservices" help:"Folder with application services' registrations (*.yaml)." placeholder:"DIR" type:"path"`
	Presence           bool   `help:"Tell who is online."`
	DeviceNames        bool   `help:"Show device names to other servers."`
	URLPreviews        bool   `name:"url-previews" help:"Fetch previews of links for clients."`

	NoRateLimits   bool `help:"For test suites: no rate limits."`
	CheapPasswords bool `help:"For test suites: hash passwords fast, which is insecure."`
	AllowPrivate   bool `name:"allow-private-addresses" help:"For test suites: connect to loopback and private addresses."`
}

// Run serves until a signal comes.
func (cmd serveCmd) Run(env *environment) error {
	c, err := cmd.config()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("the configuration is wrong:\n%w", err)
	}
	host, err := openHost(env, c)
	if err != nil {
		return err
	}
	defer closeHost(env, host)
	if err := addDomains(env.ctx, host, c.Domains); err != nil {
		return err
	}
	sites := &sites{env: env}
	client, err := sites.listen("client", c.Client.Listen, host.Handler())
	if err != nil {
		return err
	}
	env.log.Info("serves clients", obs.KeyAddress, client)
	if c.Federation.Listen != "" {
		cert, err := tls.LoadX509KeyPair(c.Federation.Certificate, c.Federation.Key)
		if err != nil {
			return fmt.Errorf("load federation certificate: %w", err)
		}
		federation, err := sites.listen("federation", c.Federation.Listen, host.Handler(), cert)
		if err != nil {
			return err
		}
		env.log.Info("serves other servers", obs.KeyAddress, federation)
	}
	if c.Admin != "" {
		if _, err := sites.listen("admin", c.Admin, host.AdminHandler()); err != nil {
			return err
		}
	}
	env.log.Info("ready", obs.KeyCount, len(c.Domains))
	return sites.run(env.ctx, host.Run)
}

// AfterApply refuses flags beside a configuration file: they would be ignored.
func (cmd serveCmd) AfterApply(parsed *kong.Context) error {
	for _, at := range parsed.Path {
		if cmd.Config != "" && at.Flag != nil && at.Flag.Name != "config" && slices.Contains(parsed.Selected().Flags, at.Flag) {
			return fmt.Errorf("use either -c or flags: --%s belongs into the configuration file", at.Flag.Name)
		}
	}
	return nil
}

func (cmd serveCmd) config() (config, error) {
	if cmd.Config != "" {
		return readConfig(cmd.Config)
	}
	if cmd.Domain == "" {
		return config{}, errors.New("name a configuration file (-c konsil.yaml) or a domain (--domain klinik.example)")
	}
	return config{
		Data: cmd.Data, Database: cmd.Database, Admin: cmd.Admin,
		Client:       clientListener{Listen: cmd.ClientListen},
		Federation:   federationListener{Listen: cmd.FederationListen, Certificate: cmd.TLSCert, Key: cmd.TLSKey},
		Domains:      []domainConfig{{Name: cmd.Domain, Flavour: cmd.Flavour}},
		Registration: registrationConfig{Open: cmd.OpenRegistration, SharedSecret: cmd.RegistrationSecret},
		Presence:     cmd.Presence, DeviceNames: cmd.DeviceNames, URLPreviews: cmd.URLPreviews, AppServices: cmd.AppServices,
		Testing: testingConfig{NoRateLimits: cmd.NoRateLimits, CheapPasswords: cmd.CheapPasswords, AllowPrivate: cmd.AllowPrivate},
	}, nil
}

func openHost(env *environment, c config) (*homeserver.Host, error) {
	cfg := homeserver.Config{
		DataDir: c.Data, Database: c.Database, Settings: c.settings(), Log: env.log, Version: version,
		Network: ssclient.NetworkConfig{AllowPrivate: c.Testing.AllowPrivate, UserAgent: "Konsil/" + version},
	}
	if len(c.Domains) == 1 {
		cfg.DefaultDomain = id.ServerName(c.Domains[0].Name)
	}
	return homeserver.Open(env.ctx, cfg)
}

func closeHost(env *environment, host *homeserver.Host) {
	if err := host.Close(); err != nil {
		env.log.Error("close", obs.KeyError, err)
	}
}

// addDomains makes the domains that are not there yet.
func addDomains(ctx context.Context, host *homeserver.Host, domains []domainConfig) error {
	for _, d := range domains {
		err := host.Add(ctx, id.ServerName(d.Name), homeserver.Flavour(d.Flavour), true)
		if err != nil && !errors.Is(err, store.ErrDomainExists) {
			return err
		}
	}
	return nil
}
