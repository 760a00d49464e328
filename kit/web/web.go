// Package web is what every HTTP API of the program stands on: a mux that no path trick passes, binding of requests to
// structs, answers, logging and a server with deadlines. It knows no API and no error code: refusals come in as errors
// that carry their status and JSON. Everything here is safe for concurrent use.
package web
