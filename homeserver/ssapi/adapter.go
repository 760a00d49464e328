package ssapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"konsil/kit/web"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// A handler serves one row. The adapters below make handlers of functions from a request to an answer.
type handler func(a *API, rw row, w http.ResponseWriter, r *http.Request)

// signed serves an endpoint that another server has to sign for. The body is read once, within the row's limit, before the
// signature over it is checked. SS v1.16 #request-authentication
func signed[Req, Resp any](fn func(ctx context.Context, origin id.ServerName, req Req) (Resp, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		resp, err := func() (resp any, err error) {
			origin, err := a.authenticate(rw, w, r)
			if err != nil {
				return nil, err
			}
			req, err := bind[Req](rw, r)
			if err != nil {
				return nil, err
			}
			return fn(r.Context(), origin, req)
		}()
		respond(w, r, resp, err)
	}
}

// public serves an endpoint without authentication.
func public[Req, Resp any](fn func(ctx context.Context, req Req) (Resp, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		resp, err := func() (any, error) {
			req, err := bind[Req](rw, r)
			if err != nil {
				return nil, err
			}
			return fn(r.Context(), req)
		}()
		respond(w, r, resp, err)
	}
}

// authenticate gives the server that signed the request. Its body can be read again afterwards.
func (a *API) authenticate(rw row, w http.ResponseWriter, r *http.Request) (id.ServerName, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", mxerr.Unauthorized("Missing Authorization header") // before a byte of the body is read
	}
	var body []byte
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		lift := web.BodyTime(r, bodyTime)
		read, err := io.ReadAll(http.MaxBytesReader(w, r.Body, rw.body))
		lift()
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return "", mxerr.TooLarge("Request too large")
			}
			return "", mxerr.NotJSON("Body could not be read")
		}
		body = read
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
	}
	content := body
	if len(content) == 0 {
		content = nil
	}
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.RequestURI() // absolute form, which proxies send
	}
	origin, err := a.cfg.Federation.Keys.VerifyRequest(r.Context(), headers, r.Method, uri, content)
	if err != nil {
		return "", err
	}
	a.cfg.Federation.Contact(origin)
	return origin, nil
}

// bind reads the request. Forms are refused unread (B3).
func bind[Req any](rw row, r *http.Request) (Req, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && strings.HasPrefix(kind, "multipart/") {
		var none Req
		return none, mxerr.NotJSON("Content not JSON")
	}
	req, err := web.Bind[Req](r, rw.body)
	var bad *web.BindError
	if errors.As(err, &bad) {
		err = refusal(bad)
	}
	return req, err
}

// refusal says in Matrix's codes what was wrong with a request. CS v1.16 #common-error-codes
func refusal(bad *web.BindError) error {
	switch bad.Kind {
	case web.NotJSON:
		return mxerr.NotJSON("Content not JSON")
	case web.TooLarge:
		return mxerr.TooLarge("Request too large")
	case web.MissingParam:
		return mxerr.MissingParam("Missing parameter %s", bad.Field)
	case web.InvalidParam:
		return mxerr.InvalidParam("Invalid value for %s", bad.Field)
	}
	return mxerr.BadJSON("Content not as expected")
}

// respond writes the answer; errors of ours are logged by the frame around.
func respond(w http.ResponseWriter, r *http.Request, resp any, err error) {
	if err != nil && errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the other server went away
	}
	web.Respond(w, r, resp, err)
}
