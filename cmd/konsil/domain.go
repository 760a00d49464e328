package main

import (
	"errors"
	"fmt"

	"konsil/homeserver"
	"konsil/matrix/id"
)

type domainCmd struct {
	List domainListCmd `cmd:"" help:"List the domains of an installation."`
	Add  domainAddCmd  `cmd:"" help:"Register a domain. A running server of the same installation serves it at once."`
}

// place says which installation an operator's verb works on.
type place struct {
	Data     string `help:"The installation's data folder." default:"./konsil-data" type:"path"`
	Database string `help:"Its PostgreSQL URL, if it has one." placeholder:"URL"`
}

func (p place) open(env *environment) (*homeserver.Host, error) {
	return homeserver.Open(env.ctx, homeserver.Config{DataDir: p.Data, Database: p.Database, Log: env.log})
}

type domainListCmd struct{ place }

// Run prints a line per domain.
func (cmd domainListCmd) Run(env *environment) error {
	host, err := cmd.open(env)
	if err != nil {
		return err
	}
	defer closeHost(env, host)
	const page = 500
	for after := int64(0); ; {
		rows, err := host.Domains(env.ctx, after, page)
		if err != nil {
			return err
		}
		for _, d := range rows {
			fmt.Fprintf(env.stdout, "%6d  %-5s %s\n", d.Number, d.Flavour, d.Name)
			after = d.Number
		}
		if len(rows) < page {
			return nil
		}
	}
}

type domainAddCmd struct {
	place
	Name    string `arg:"" help:"The Matrix server name."`
	Flavour string `help:"By whose rules: open (Matrix), pro or epa (TI-Messenger)." default:"open" enum:"open,pro,epa"`
}

// Run adds the domain.
func (cmd domainAddCmd) Run(env *environment) error {
	name, err := id.ParseServerName(cmd.Name)
	if err != nil {
		return fmt.Errorf("server name: %w", err)
	}
	if cmd.Data == "" {
		return errors.New("name the data folder: --data")
	}
	host, err := cmd.open(env)
	if err != nil {
		return err
	}
	defer closeHost(env, host)
	return host.Add(env.ctx, name, homeserver.Flavour(cmd.Flavour), true)
}
