package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"konsil/client/ssclient"
	"konsil/homeserver"
	"konsil/homeserver/store"
	"konsil/kit/devca"
	"konsil/matrix/id"
)

type upCmd struct {
	Data   string `help:"Folder for everything: databases, media, certificates, up.json." default:"./konsil-data" type:"path"`
	Listen string `help:"Address of the shared port; sites are told apart by host name (klinik.localhost, …). Port 0 picks one." default:"127.0.0.1:8008"`
	Fresh  bool   `help:"Empty the folder first."`
	Admin  string `help:"Loopback address for metrics, health and pprof." placeholder:"ADDR"`
}

// organisation is one of the Matrix domains that `konsil up` starts.
type organisation struct {
	site    string // first label of the host name
	what    string
	flavour homeserver.Flavour
	listed  bool // on the federation list
	people  []person
}

type person struct {
	localpart, name, role string
}

// organisations are a hospital, a practice, an insurer and somebody from outside the federation.
var organisations = [...]organisation{
	{"klinik", "hospital", homeserver.Pro, true, []person{
		{"anna.berg", "Berg, Anna", "user"}, {"boris.dahl", "Dahl, Boris", "user"}, {"admin", "Verwaltung Klinik", "admin"}}},
	{"praxis", "practice", homeserver.Pro, true, []person{
		{"clara.ernst", "Ernst, Clara", "user"}, {"david.fink", "Fink, David", "user"}, {"admin", "Verwaltung Praxis", "admin"}}},
	{"kasse", "insurer, for insured persons", homeserver.EPA, true, []person{
		{"emil.graf", "Graf, Emil", "user"}, {"frieda.hahn", "Hahn, Frieda", "user"}, {"admin", "Verwaltung Kasse", "admin"}}},
	{"fremd", "stranger", homeserver.Ordinary, false, []person{
		{"gustav.igel", "Igel, Gustav", "user"}, {"hanna.jung", "Jung, Hanna", "user"}, {"admin", "Verwaltung Fremd", "admin"}}},
}

// Run starts the small federation and keeps it until a signal comes.
func (cmd upCmd) Run(env *environment) error {
	if err := cmd.prepare(); err != nil {
		return err
	}
	unlock, err := lockFolder(cmd.Data)
	if err != nil {
		return err
	}
	defer unlock()
	ready := filepath.Join(cmd.Data, "up.json")
	// The file says "ready"; one from before would say it too early.
	if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ca, err := devca.Open(cmd.Data, time.Now())
	if err != nil {
		return err
	}
	host, err := homeserver.Open(env.ctx, homeserver.Config{
		DataDir: cmd.Data, Log: env.log, Version: version, Settings: homeserver.Settings{AllowPrivate: true, DeviceNames: true, CheapPasswords: true},
		Network: ssclient.NetworkConfig{AllowPrivate: true, Roots: ca.Pool(), UserAgent: "Konsil/" + version},
	})
	if err != nil {
		return err
	}
	defer closeHost(env, host)
	sites := &sites{env: env}
	state, err := cmd.start(env, host, ca, sites)
	if err != nil {
		return err
	}
	return sites.run(env.ctx, host.Run, func(context.Context) error {
		if err := writePrivate(ready, state); err != nil {
			return err
		}
		printWelcome(env.stdout, state, cmd.Data)
		return nil
	})
}

// prepare makes the folder, and empties it first if asked to: only one of ours, for --data may be mistyped.
func (cmd upCmd) prepare() error {
	if cmd.Fresh {
		if err := emptyFolder(cmd.Data); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(cmd.Data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	return nil
}

func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read data folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "registry.db")); err != nil {
		return fmt.Errorf("%s holds no data of konsil: not emptied. Name another folder or empty it yourself", dir)
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer unlock()
	for _, entry := range entries {
		if entry.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("empty data folder: %w", err)
		}
	}
	return nil
}

// start opens every port and makes whoever is missing.
func (cmd upCmd) start(env *environment, host *homeserver.Host, ca *devca.Authority, sites *sites) (upState, error) {
	state := upState{PID: os.Getpid(), Ready: true, CA: ca.CertificateFile()}
	shared, err := sites.listen("shared", cmd.Listen, host.Handler())
	if err != nil {
		return state, err
	}
	if cmd.Admin != "" {
		if _, err := sites.listen("admin", cmd.Admin, host.AdminHandler()); err != nil {
			return state, err
		}
	}
	secrets, err := readCredentials(cmd.Data)
	if err != nil {
		return state, err
	}
	for _, org := range organisations {
		domain, err := cmd.startDomain(env, host, ca, sites, org, shared)
		if err != nil {
			return state, err
		}
		if domain.Users, err = people(env.ctx, host, org, id.ServerName(domain.Name), secrets); err != nil {
			return state, err
		}
		state.Domains = append(state.Domains, domain)
	}
	return state, writePrivate(credentialsFile(cmd.Data), secrets)
}

func (cmd upCmd) startDomain(env *environment, host *homeserver.Host, ca *devca.Authority, sites *sites, org organisation, shared net.Addr) (upDomain, error) {
	name := id.ServerName(org.site + ".localhost")
	if err := host.Add(env.ctx, name, org.flavour, true); err != nil && !errors.Is(err, store.ErrDomainExists) {
		return upDomain{}, err
	}
	client, err := sites.listen(string(name), "127.0.0.1:0", host.For(name))
	if err != nil {
		return upDomain{}, err
	}
	cert, err := ca.Issue(time.Now(), string(name), "localhost", "127.0.0.1")
	if err != nil {
		return upDomain{}, err
	}
	federation, err := sites.listen(string(name), "127.0.0.1:0", host.For(name), cert)
	if err != nil {
		return upDomain{}, err
	}
	_, port, err := net.SplitHostPort(shared.String())
	if err != nil {
		return upDomain{}, err
	}
	return upDomain{
		Name: string(name), What: org.what, Flavour: string(org.flavour), Federated: org.listed,
		Web:           address("http", net.JoinHostPort(string(name), port)),
		ClientAPI:     address("http", client.String()),
		FederationAPI: address("https", federation.String()),
	}, nil
}

// address writes where a site is.
func address(scheme, host string) string { return (&url.URL{Scheme: scheme, Host: host}).String() }

// people makes the users of an organisation who are missing, each with a development device whose token scripts may use.
func people(ctx context.Context, host *homeserver.Host, org organisation, name id.ServerName, secrets credentials) ([]upUser, error) {
	var users []upUser
	err := host.Use(ctx, name, func(d *homeserver.Domain) error {
		for _, p := range org.people {
			user := homeserver.UserID(p.localpart, name)
			secret, err := d.EnsureUser(ctx, homeserver.NewUser{
				Localpart: p.localpart, DisplayName: p.name, Admin: p.role == "admin",
				Password: secrets[user].Password, AccessToken: secrets[user].AccessToken,
			})
			if err != nil {
				return fmt.Errorf("make %s: %w", user, err)
			}
			secrets[user] = credential{Password: secret.Password, AccessToken: secret.AccessToken}
			users = append(users, upUser{ID: user, Password: secret.Password, AccessToken: secret.AccessToken, DisplayName: p.name, Role: p.role})
		}
		return nil
	})
	return users, err
}
