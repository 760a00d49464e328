package ssclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// kind bounds a call: how long until the last byte of its answer, and how many bytes (decompressed) that answer may have.
type kind struct {
	timeout time.Duration
	size    int64
}

// Somebody's client waits for a query, nobody for a transaction; joins of large rooms take as long as they take.
var (
	quick       = kind{10 * time.Second, 1 << 20}
	query       = kind{20 * time.Second, 16 << 20}
	handshake   = kind{30 * time.Second, 4 << 20} // make_*, invite, leave, knock
	transaction = kind{60 * time.Second, 1 << 20}
	history     = kind{30 * time.Second, 64 << 20}
	largeState  = kind{10 * time.Minute, 512 << 20}
	mediaFile   = kind{10 * time.Minute, 1 << 40} // who stores the file knows its limit
)

// maxErrorBody is how much of a refusal is read.
const maxErrorBody = 64 << 10

// call is one request to another server.
type call struct {
	kind
	method string
	path   string // escaped, with query
	body   any    // nil, ready JSON as []byte, or a value to encode
	open   bool   // sent without signature: keys, version
}

// path joins segments, escaping each, and a query.
func path(prefix string, segments ...string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

func withQuery(path string, values url.Values) string {
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// send makes a request and returns a successful answer, its body bounded in time and size. Who gets it closes it.
func (c *Client) send(ctx context.Context, server id.ServerName, call call) (*http.Response, error) {
	body, err := encode(call.body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, call.timeout)
	req, err := c.request(ctx, server, call, body)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := c.net.roundTrip(ctx, server, req)
	if err != nil {
		cancel()
		return nil, &Unreachable{Server: server, Err: err}
	}
	resp.Body = &boundedBody{body: resp.Body, left: call.size, server: server, cancel: cancel}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		// No redirect is followed: a signed request is meant for the server it names.
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return nil, readError(server, resp, text)
	}
	return resp, nil
}

// request builds the request and signs it. SS v1.16 #request-authentication
func (c *Client) request(ctx context.Context, server id.ServerName, call call, body []byte) (*http.Request, error) {
	u, err := url.Parse("https://" + target(server) + call.path)
	if err != nil {
		return nil, err
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, call.method, u.String(), reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.net.cfg.UserAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !call.open {
		header, err := sign.SignRequest(call.method, req.URL.RequestURI(), c.server, server, body, c.key)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", header)
	}
	return req, nil
}

func encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return b, nil
	}
	return json.Marshal(body)
}

// roundTrip hands the request to a domain of this process, or finds the server and sends it there.
func (n *Network) roundTrip(ctx context.Context, server id.ServerName, req *http.Request) (*http.Response, error) {
	if n.cfg.Local != nil {
		if handler := n.cfg.Local(server); handler != nil {
			req.Host = string(server)
			return serveLocally(handler, req)
		}
	}
	delegated, err := n.resolver.delegate(ctx, server)
	if err != nil {
		return nil, err
	}
	req.URL.Host = target(delegated)
	req.Host = string(delegated)
	return n.transport.RoundTrip(req)
}

// call makes a request and decodes its JSON answer into out.
func (c *Client) call(ctx context.Context, server id.ServerName, call call, out any) error {
	resp, err := c.send(ctx, server, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return readFailed(server, err)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return malformed(server, "not the JSON expected")
	}
	return nil
}

// readFailed tells an answer that broke off from one that broke our limits.
func readFailed(server id.ServerName, err error) error {
	var wrong *Malformed
	if errors.As(err, &wrong) {
		return wrong
	}
	return &Unreachable{Server: server, Err: err}
}

// boundedBody ends an answer that is longer than we read, and the request's time with it.
type boundedBody struct {
	body   io.ReadCloser
	left   int64
	server id.ServerName
	cancel context.CancelFunc
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// The limit may be the exact length: only a further byte is one too many.
		var one [1]byte
		n, err := b.body.Read(one[:])
		if n > 0 {
			return 0, malformed(b.server, "larger than we read")
		}
		return 0, err
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *boundedBody) Close() error {
	err := b.body.Close()
	b.cancel()
	return err
}
