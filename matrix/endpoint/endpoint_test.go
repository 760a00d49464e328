package endpoint_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"konsil/matrix/endpoint"
)

var (
	declared = regexp.MustCompile(`(?m)^\s+(\w+)\s+= Endpoint\{"(\w+)"`)
	path     = regexp.MustCompile(`^(/_matrix|/\.well-known/matrix)(/(\{[A-Za-z0-9]+\}|[a-zA-Z0-9_.]+))+/?$`)
)

// TestListsAreComplete reads the source: an endpoint that is declared and not listed would be walked by nobody.
func TestListsAreComplete(t *testing.T) {
	for file, list := range map[string][]endpoint.Endpoint{
		"client_server.go": endpoint.ClientServer(), "server_server.go": endpoint.ServerServer()} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := declared.FindAllStringSubmatch(string(source), -1)
		if len(found) != len(list) {
			t.Errorf("%s declares %d endpoints and lists %d", file, len(found), len(list))
		}
		for _, m := range found {
			if !slices.ContainsFunc(list, func(e endpoint.Endpoint) bool { return e.Name == m[2] }) {
				t.Errorf("%s: %s is not listed", file, m[1])
			}
		}
	}
}

func TestEndpointsAreWellFormed(t *testing.T) {
	names, routes := map[string]bool{}, map[string]string{}
	for _, e := range slices.Concat(endpoint.ClientServer(), endpoint.ServerServer()) {
		if names[e.Name] {
			t.Errorf("two endpoints are called %s", e.Name)
		}
		names[e.Name] = true
		if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE"}, e.Method) {
			t.Errorf("%s: method %q", e.Name, e.Method)
		}
		if len(e.Paths) == 0 {
			t.Fatalf("%s has no path", e.Name)
		}
		for _, p := range e.Paths {
			if !path.MatchString(p) {
				t.Errorf("%s: path %q", e.Name, p)
			}
			route := e.Method + " " + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(p, "{}")
			if other := routes[route]; other != "" && !twins[e.Name] {
				t.Errorf("%s and %s are both %s", other, e.Name, route)
			}
			routes[route] = e.Name
		}
	}
}

// twins have the path of another endpoint: the specification describes it twice.
var twins = map[string]bool{"getEvents": true, "peekEvents": true, "inviteUser": true, "inviteBy3PID": true}
