package csapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"konsil/homeserver/account"
	"konsil/kit/web"
	"konsil/matrix/mxerr"
)

// A handler serves one row. The adapters below make handlers of functions from a request to an answer.
type handler func(a *API, rw row, w http.ResponseWriter, r *http.Request)

// None is the request or the answer of an endpoint that takes or gives nothing; as an answer it is {}.
type None struct{}

// user serves an endpoint that needs an access token.
func user[Req, Resp any](fn func(ctx context.Context, caller account.Caller, req Req) (Resp, error)) handler {
	return withCaller(refuseLocked, fn)
}

// active is user for what a suspended account may not do. CS v1.16 #account-suspension
func active[Req, Resp any](fn func(ctx context.Context, caller account.Caller, req Req) (Resp, error)) handler {
	return withCaller(refuseSuspended, fn)
}

// evenLocked is user for what a locked account still may do: log out. CS v1.16 #account-locking
func evenLocked[Req, Resp any](fn func(ctx context.Context, caller account.Caller, req Req) (Resp, error)) handler {
	return withCaller(nil, fn)
}

// admin serves an endpoint for the domain's administrators only.
func admin[Req, Resp any](fn func(ctx context.Context, caller account.Caller, req Req) (Resp, error)) handler {
	return withCaller(refuseNonAdmin, fn)
}

// optional serves an endpoint with or without an access token; the caller is the zero value without. A token that is
// there has to be good.
func optional[Req, Resp any](fn func(ctx context.Context, caller account.Caller, req Req) (Resp, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		if bearer(r) == "" {
			public(func(ctx context.Context, req Req) (Resp, error) { return fn(ctx, account.Caller{}, req) })(a, rw, w, r)
			return
		}
		withCaller(refuseLocked, fn)(a, rw, w, r)
	}
}

// public serves an endpoint without authentication.
func public[Req, Resp any](fn func(ctx context.Context, req Req) (Resp, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		resp, err := func() (resp Resp, err error) {
			if err = a.allow(rw.limit, a.peer(r).String()); err != nil {
				return resp, err
			}
			req, err := bind[Req](rw, r)
			if err != nil {
				return resp, err
			}
			return fn(r.Context(), req)
		}()
		a.respond(w, r, resp, err)
	}
}

// userHTTP serves an endpoint that needs an access token and the bare request: bodies that are no JSON.
func userHTTP(fn func(ctx context.Context, caller account.Caller, r *http.Request) (any, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		caller, err := a.caller(rw, r, refuseLocked)
		if err != nil {
			a.respond(w, r, nil, err)
			return
		}
		resp, err := fn(r.Context(), caller, r)
		a.respond(w, r, resp, err)
	}
}

// publicHTTP is userHTTP without authentication.
func publicHTTP(fn func(ctx context.Context, r *http.Request) (any, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		if err := a.allow(rw.limit, a.peer(r).String()); err != nil {
			a.respond(w, r, nil, err)
			return
		}
		resp, err := fn(r.Context(), r)
		a.respond(w, r, resp, err)
	}
}

func withCaller[Req, Resp any](check func(account.Caller) error, fn func(context.Context, account.Caller, Req) (Resp, error)) handler {
	return func(a *API, rw row, w http.ResponseWriter, r *http.Request) {
		resp, err := func() (resp Resp, err error) {
			caller, err := a.caller(rw, r, check)
			if err != nil {
				return resp, err
			}
			req, err := bind[Req](rw, r)
			if err != nil {
				return resp, err
			}
			return fn(r.Context(), caller, req)
		}()
		a.respond(w, r, resp, err)
	}
}

// caller authenticates a request and applies the row's limit to its user.
func (a *API) caller(rw row, r *http.Request, check func(account.Caller) error) (account.Caller, error) {
	token := bearer(r)
	if token == "" {
		return account.Caller{}, mxerr.MissingToken()
	}
	caller, err := a.authenticate(r, token)
	if err != nil {
		return account.Caller{}, err
	}
	if check != nil {
		if err := check(caller); err != nil {
			return account.Caller{}, err
		}
	}
	a.Accounts.Seen(caller, a.peer(r), r.UserAgent())
	if caller.AppService != nil && !limited(caller) {
		return caller, nil
	}
	return caller, a.allow(rw.limit, string(caller.User))
}

func refuseLocked(c account.Caller) error {
	if c.Locked {
		return mxerr.New(http.StatusUnauthorized, mxerr.CodeUserLocked, "This account has been locked").With("soft_logout", true)
	}
	return nil
}

func refuseSuspended(c account.Caller) error {
	if c.Suspended {
		return errSuspended()
	}
	return refuseLocked(c)
}

// errSuspended refuses what a suspended account may not do. CS v1.16 #account-suspension
func errSuspended() error {
	return mxerr.New(http.StatusForbidden, mxerr.CodeUserSuspended, "You cannot perform this action while suspended")
}

func refuseNonAdmin(c account.Caller) error {
	if err := refuseLocked(c); err != nil {
		return err
	}
	if !c.Admin {
		return mxerr.Forbidden("Only server administrators may do this")
	}
	return nil
}

// bearer is the access token of a request, from the header or, as older clients send it, from the query.
// CS v1.16 #using-access-tokens
func bearer(r *http.Request) string {
	if scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	if !strings.Contains(r.URL.RawQuery, "access_token=") {
		return "" // the usual case: the query is not parsed for nothing
	}
	return r.URL.Query().Get("access_token")
}

// bind reads the request.
func bind[Req any](rw row, r *http.Request) (Req, error) {
	req, err := web.Bind[Req](r, rw.limit.body)
	var bad *web.BindError
	if errors.As(err, &bad) {
		err = refusal(bad)
	}
	return req, err
}

// refusal says in Matrix's codes what was wrong with a request. CS v1.16 #common-error-codes
func refusal(bad *web.BindError) error {
	field := bad.Field
	switch bad.Kind {
	case web.NotJSON:
		return mxerr.NotJSON("Content not JSON")
	case web.TooLarge:
		return mxerr.TooLarge("Request too large")
	case web.MissingParam:
		return mxerr.MissingParam("Missing parameter %s", field)
	case web.InvalidParam:
		return mxerr.InvalidParam("Invalid value for %s", field)
	}
	if field != "" {
		return mxerr.BadJSON("Invalid value for %s", field)
	}
	return mxerr.BadJSON("Content not a JSON object")
}

// respond writes the answer. What is no refusal is an error of ours: the frame around the API logs it, and tells the client
// nothing of it.
func (a *API) respond(w http.ResponseWriter, r *http.Request, resp any, err error) {
	if e, ok := mxerr.As(err); ok && e.Code == mxerr.CodeLimitExceeded {
		w.Header().Set("Retry-After", retryAfter(e))
	}
	web.Respond(w, r, resp, err)
}

// peer is the client's address. X-Forwarded-For counts only from a trusted proxy, and only its last entry, which that
// proxy wrote itself; the others are the client's own claim (B18).
func (a *API) peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	for _, trusted := range a.TrustedProxies {
		if !trusted.Contains(addr) {
			continue
		}
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if claimed, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
			return claimed.Unmap()
		}
		return addr
	}
	return addr
}
