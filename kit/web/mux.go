package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Route is one endpoint: a method, a path, and who answers. A segment {name} of the path takes any one segment that is not
// empty, decoded; it never takes a slash that was not written as %2F. A path that ends in / or /{$} means an empty last
// segment, so that a parameter that may be empty needs two routes. {name...} at the end takes all that follows.
type Route struct {
	Method, Path string
	Handler      http.Handler
}

// mux is a tree of segments. net/http's own mux redirects to cleaned paths and writes its own 405; an API must answer both
// itself, and what it does not know must look the same however it is spelled (B17).
type mux struct {
	root                 node
	unknown, wrongMethod http.Handler
}

type node struct {
	fixed   map[string]*node
	param   *node // {name}
	rest    *node // {name...}
	methods map[string]*endpoint
}

// endpoint is a route with its parameter names in order.
type endpoint struct {
	Route
	names []string
}

// NewMux routes. unknown answers paths without a route, wrongMethod paths with routes for other methods only; it finds them
// in the header Allow. HEAD is served by GET. It panics when two routes are the same or a path is not well-formed, for routes are
// written in the program.
func NewMux(routes []Route, unknown, wrongMethod http.Handler) http.Handler {
	m := &mux{unknown: unknown, wrongMethod: wrongMethod}
	for _, r := range routes {
		if err := m.add(r); err != nil {
			panic(fmt.Sprintf("kit/web: route %s %s: %v", r.Method, r.Path, err))
		}
	}
	return m
}

func (m *mux) add(r Route) error {
	path, ok := strings.CutPrefix(r.Path, "/")
	if !ok {
		return fmt.Errorf("does not begin with /")
	}
	path = strings.TrimSuffix(path, "{$}")
	n := &m.root
	var names []string
	atRest := false
	for seg := range strings.SplitSeq(path, "/") {
		inner, isParam := strings.CutPrefix(seg, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		name, isRest := strings.CutSuffix(inner, "...")
		switch {
		case atRest:
			return fmt.Errorf("something behind a parameter for the rest")
		case isParam != closed || strings.ContainsAny(name, "{}") || isParam && (name == "" || slices.Contains(names, name)):
			return fmt.Errorf("bad segment %s", seg)
		case isParam && isRest:
			n.rest = child(n.rest)
			n, atRest = n.rest, true
		case isParam:
			n.param = child(n.param)
			n = n.param
		default:
			if n.fixed == nil {
				n.fixed = map[string]*node{}
			}
			n.fixed[seg] = child(n.fixed[seg])
			n = n.fixed[seg]
		}
		if isParam {
			names = append(names, name)
		}
	}
	if n.methods == nil {
		n.methods = map[string]*endpoint{}
	}
	if n.methods[r.Method] != nil {
		return fmt.Errorf("is there already")
	}
	n.methods[r.Method] = &endpoint{r, names}
	return nil
}

func child(n *node) *node {
	if n == nil {
		return &node{}
	}
	return n
}

func (m *mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/")
	if !ok || r.Method == http.MethodConnect {
		m.unknown.ServeHTTP(w, r)
		return
	}
	var room [8]string
	found, values := m.root.find(path, room[:0])
	if found == nil {
		m.unknown.ServeHTTP(w, r)
		return
	}
	ep := found.methods[r.Method]
	if ep == nil && r.Method == http.MethodHead {
		ep = found.methods[http.MethodGet]
	}
	if ep == nil {
		w.Header().Set("Allow", found.allow())
		m.wrongMethod.ServeHTTP(w, r)
		return
	}
	for i, name := range ep.names {
		r.SetPathValue(name, values[i])
	}
	r.Pattern = ep.Path
	if rec := recordOf(r); rec != nil {
		rec.pattern = ep.Path
	}
	ep.Handler.ServeHTTP(w, r)
}

// find walks the tree along an escaped path. A fixed segment goes before a parameter; where it leads nowhere, the parameter
// is tried. The depth of the tree bounds the recursion, not the path.
func (n *node) find(path string, values []string) (*node, []string) {
	seg, rest, more := strings.Cut(path, "/")
	fixed, err := url.PathUnescape(seg)
	if err != nil {
		return nil, nil
	}
	// A fixed segment is matched as it is written: an escaped slash or dot makes no other path of it.
	if next := n.fixed[seg]; next != nil {
		if found, v := next.end(rest, more, values); found != nil {
			return found, v
		}
	}
	if n.param != nil && seg != "" && seg != "." && seg != ".." {
		if found, v := n.param.end(rest, more, append(values, fixed)); found != nil {
			return found, v
		}
	}
	if n.rest != nil {
		if tail, err := url.PathUnescape(path); err == nil && !tricky(tail) {
			return n.rest, append(values, tail)
		}
	}
	return nil, nil
}

// end goes on with the rest of the path, or says that n is where it ends.
func (n *node) end(rest string, more bool, values []string) (*node, []string) {
	if more {
		return n.find(rest, values)
	}
	if n.methods == nil {
		return nil, nil
	}
	return n, values
}

// tricky says whether a path could lead out of a folder.
func tricky(path string) bool {
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "." || seg == ".." {
			return true
		}
	}
	return strings.Contains(path, "//") || strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\\x00")
}

func (n *node) allow() string {
	var methods []string
	for m := range n.methods {
		methods = append(methods, m)
	}
	if n.methods[http.MethodGet] != nil && n.methods[http.MethodHead] == nil {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}
