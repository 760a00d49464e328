package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"konsil/kit/dial"
)

const (
	gatewayTimeout = 20 * time.Second
	maxAnswer      = 64 << 10 // bytes of a gateway's answer
)

// gateway calls push gateways: foreign servers whose address a user has named.
type gateway struct{ client *http.Client }

func newGateway(cfg Config) *gateway {
	connect := cfg.Dial
	if connect == nil {
		d := &net.Dialer{Timeout: 10 * time.Second}
		if !cfg.AllowPrivate {
			d.Control = dial.RefusePrivate // no DNS trick gets around it (A30)
		}
		connect = d.DialContext
	}
	return &gateway{client: &http.Client{
		Timeout: gatewayTimeout,
		Transport: &http.Transport{
			DialContext: connect, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConns: 20, MaxIdleConnsPerHost: 2,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		// A redirect would lead where the pusher has not said.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// notify posts one notification and gives the pushkeys that the gateway rejects.
func (g *gateway) notify(ctx context.Context, url string, body []byte) (rejected []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, plain(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	var out struct {
		Rejected []string `json:"rejected"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, errors.New("answer is no JSON")
	}
	return out.Rejected, nil
}

// plain takes the URL out of an error of net/http: it may name its user.
func plain(err error) error {
	var inner interface{ Unwrap() error }
	if errors.As(err, &inner) && inner.Unwrap() != nil {
		return inner.Unwrap()
	}
	return err
}
