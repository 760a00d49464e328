// Package endpoint names every endpoint of the Matrix APIs once: what the homeserver serves, what the proxy has rules
// for and what the conformance tests walk are rows of the same list. It is not a router and knows no handlers.
package endpoint

// Auth says who has to prove what before an endpoint answers.
type Auth int

const (
	None       Auth = iota // anybody
	Token                  // a client with an access token, CS v1.19 #client-authentication
	Optional               // a client, with or without an access token
	Server                 // a server with an X-Matrix signature, SS v1.19 #request-authentication
	AppService             // an application service with its as_token
)

// Endpoint is one operation of the specification.
type Endpoint struct {
	Name   string   // the specification's operationId
	Method string   // GET, PUT, POST, DELETE
	Auth   Auth     // who may call it
	Paths  []string // the stable path first, then older and unstable spellings; parameters as {name}
}

// Path is the stable path.
func (e Endpoint) Path() string { return e.Paths[0] }
