package homeserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"konsil/homeserver/account"
	"konsil/matrix/id"
)

// appServices are the registrations of application services: those that hold for all domains of the process, and those of
// single ones.
type appServices struct {
	all map[id.ServerName][]*account.AppService // "" for every domain
}

// readAppServices reads the *.yaml of a folder, and of its folders that are named for a domain. "" is no folder.
func readAppServices(dir string) (appServices, error) {
	found := appServices{map[id.ServerName][]*account.AppService{}}
	if dir == "" {
		return found, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found, fmt.Errorf("read registrations of application services: %w", err)
	}
	if found.all[""], err = readRegistrations(dir); err != nil {
		return found, err
	}
	for _, e := range entries {
		name, err := id.ParseServerName(e.Name())
		if !e.IsDir() || err != nil {
			continue
		}
		if found.all[name], err = readRegistrations(filepath.Join(dir, e.Name())); err != nil {
			return found, err
		}
	}
	for name := range found.all {
		if err := account.CheckAppServices(found.of(name)); err != nil {
			return found, err
		}
	}
	return found, nil
}

func readRegistrations(dir string) (list []*account.AppService, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a registration: %w", err)
		}
		s, err := account.ParseAppService(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.TrimPrefix(file, dir+string(filepath.Separator)), err)
		}
		list = append(list, s)
	}
	return list, nil
}

// of lists the services of a domain.
func (a appServices) of(name id.ServerName) []*account.AppService {
	if name == "" {
		return a.all[""]
	}
	return slices.Concat(a.all[""], a.all[name])
}
