// Package asclient speaks to application services: it hands them transactions and asks whether they are there. It repeats
// nothing and queues nothing. Operators name these services by configuration, so they may be on private addresses.
//
// A Client is safe for concurrent use. AS v1.16 #homeserver---application-service-api
package asclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client calls application services.
type Client struct{ http *http.Client }

// Service is where a service listens, and what proves us to it.
type Service struct {
	URL   string // without a slash at its end
	Token string // hs_token
}

// ErrStatus is an answer that is no success.
type ErrStatus struct {
	Status int
	Body   string // its beginning
}

func (e *ErrStatus) Error() string { return fmt.Sprintf("status %d", e.Status) }

const (
	patience = time.Minute // a bridge may have much to do with a transaction
	maxBody  = 4 << 10     // of an answer, which says nothing that we need
)

// New makes a client.
func New() *Client {
	return &Client{&http.Client{
		Timeout: patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10},
		// A redirect would take the token and the messages where nobody has registered them.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Transaction hands over events. AS v1.16 #put_matrixappv1transactionstxnid
func (c *Client) Transaction(ctx context.Context, s Service, txnID string, events []json.RawMessage) error {
	body, err := json.Marshal(struct {
		Events []json.RawMessage `json:"events"`
	}{events})
	if err != nil {
		return fmt.Errorf("write a transaction: %w", err)
	}
	err = c.call(ctx, s, http.MethodPut, "/_matrix/app/v1/transactions/"+url.PathEscape(txnID), body)
	var status *ErrStatus
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		// Older services know the older path only. AS v1.16 #legacy-routes
		return c.call(ctx, s, http.MethodPut, "/transactions/"+url.PathEscape(txnID), body)
	}
	return err
}

// Ping asks whether the service is there and takes our token. AS v1.16 #post_matrixappv1ping
func (c *Client) Ping(ctx context.Context, s Service, txnID string) error {
	body, err := json.Marshal(struct {
		TxnID string `json:"transaction_id,omitempty"`
	}{txnID})
	if err != nil {
		return fmt.Errorf("write a ping: %w", err)
	}
	return c.call(ctx, s, http.MethodPost, "/_matrix/app/v1/ping", body)
}

func (c *Client) call(ctx context.Context, s Service, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call an application service: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which is the operator's business
		}
		return fmt.Errorf("call an application service: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if resp.StatusCode != http.StatusOK {
		return &ErrStatus{resp.StatusCode, string(answer)}
	}
	if err != nil {
		return fmt.Errorf("read an application service's answer: %w", err)
	}
	return nil
}
