package ssclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Media is a file of another server. Nothing in it is checked: type and name are the remote's claims.
type Media struct {
	ContentType string
	Disposition string // Content-Disposition, "" if none
	Size        int64  // -1: unknown
	Body        io.ReadCloser
}

// MediaRequest names a file of another server.
type MediaRequest struct {
	Server    id.ServerName
	MediaID   string
	Timeout   time.Duration // how long to wait for a file that is announced and not uploaded yet
	MaxSize   int64         // the answer ends with a *Malformed error past it; 0: no limit
	Thumbnail *Thumbnail    // nil: the file itself
}

// Thumbnail is the size wanted.
type Thumbnail struct {
	Width, Height int
	Method        string // crop, scale
	Animated      bool
}

// maxMediaRedirects bounds the hops from the server to wherever it keeps its files.
const maxMediaRedirects = 3

// Download gets a file by the authenticated endpoint, and by the old one where the server does not know it yet.
// SS v1.16 #content-repository
func (c *Client) Download(ctx context.Context, req MediaRequest) (*Media, error) {
	verb, query := "download", url.Values{}
	if t := req.Thumbnail; t != nil {
		verb = "thumbnail"
		query.Set("width", strconv.Itoa(t.Width))
		query.Set("height", strconv.Itoa(t.Height))
		if t.Method != "" {
			query.Set("method", t.Method)
		}
		if t.Animated {
			query.Set("animated", "true")
		}
	}
	if req.Timeout > 0 {
		query.Set("timeout_ms", strconv.FormatInt(req.Timeout.Milliseconds(), 10))
	}
	k := mediaFile
	if req.MaxSize > 0 {
		k.size = req.MaxSize + 64<<10 // the multipart frame
	}
	resp, err := c.send(ctx, req.Server, call{kind: k, method: http.MethodGet, path: withQuery(path(federationV1+"/media", verb, req.MediaID), query)})
	if unknownEndpoint(err) {
		query.Set("allow_remote", "false")
		resp, err = c.send(ctx, req.Server, call{kind: k, method: http.MethodGet, open: true,
			path: withQuery(path("/_matrix/media/v3", verb, string(req.Server), req.MediaID), query)})
		if err != nil {
			return nil, err
		}
		return mediaOf(resp, resp.Header.Get("Content-Type"), resp.Header.Get("Content-Disposition")), nil
	}
	if err != nil {
		return nil, err
	}
	media, err := c.readMultipart(ctx, req.Server, resp, k)
	if err != nil {
		resp.Body.Close()
	}
	return media, err
}

// unknownEndpoint is the only answer after which the old endpoints may be tried: the server says so, or refuses in words that
// are not Matrix's, as something does that does not know the endpoint.
func unknownEndpoint(err error) bool {
	e, ok := Answered(err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusNotFound:
		return e.Code == mxerr.CodeUnrecognized || e.Code == ""
	case http.StatusBadRequest:
		return e.Code == ""
	}
	return e.Status == http.StatusMethodNotAllowed
}

func mediaOf(resp *http.Response, contentType, disposition string) *Media {
	return &Media{ContentType: contentType, Disposition: disposition, Size: resp.ContentLength, Body: resp.Body}
}

// readMultipart reads the two parts of an answer: JSON that says nothing yet, then the file, or where it is.
func (c *Client) readMultipart(ctx context.Context, server id.ServerName, resp *http.Response, k kind) (*Media, error) {
	kindOf, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kindOf != "multipart/mixed" || params["boundary"] == "" || len(params["boundary"]) > 70 {
		return nil, malformed(server, "media answer is not multipart/mixed")
	}
	part, err := filePart(resp.Body, params["boundary"])
	if err != nil {
		return nil, streamFailed(server, err)
	}
	if location := part.Header.Get("Location"); location != "" {
		resp.Body.Close()
		return c.follow(ctx, server, location, k)
	}
	return &Media{ContentType: part.Header.Get("Content-Type"), Disposition: part.Header.Get("Content-Disposition"), Size: -1,
		Body: partBody{part, resp.Body}}, nil
}

// filePart skips the metadata part and returns the file's.
func filePart(r io.Reader, boundary string) (*multipart.Part, error) {
	parts := multipart.NewReader(bufio.NewReaderSize(r, 16<<10), boundary)
	metadata, err := parts.NextRawPart()
	if err != nil {
		return nil, multipartError(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(metadata, maxErrorBody+1)); err != nil || n > maxErrorBody {
		return nil, errors.Join(errStream, err)
	}
	part, err := parts.NextRawPart()
	if err != nil {
		return nil, multipartError(err)
	}
	return part, nil
}

func multipartError(err error) error {
	var network interface{ Timeout() bool }
	if errors.As(err, &network) {
		return err
	}
	return fmt.Errorf("%w: %v", errStream, err)
}

// partBody closes the connection with the part.
type partBody struct {
	io.Reader
	io.Closer
}

// follow gets a file from where the server keeps it: unsigned, https only, addresses checked like any other.
func (c *Client) follow(ctx context.Context, server id.ServerName, location string, k kind) (*Media, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	at, err := url.Parse(location)
	for range maxMediaRedirects + 1 {
		if err != nil || at.Scheme != "https" || at.Host == "" {
			cancel()
			return nil, malformed(server, "media redirect to no https URL")
		}
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil); err != nil {
			break
		}
		req.Header.Set("User-Agent", c.net.cfg.UserAgent)
		var resp *http.Response
		if resp, err = c.net.web.RoundTrip(req); err != nil {
			break
		}
		if resp.StatusCode == http.StatusOK {
			resp.Body = &boundedBody{body: resp.Body, left: k.size, server: server, cancel: cancel}
			return mediaOf(resp, resp.Header.Get("Content-Type"), resp.Header.Get("Content-Disposition")), nil
		}
		resp.Body.Close()
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			cancel()
			return nil, malformed(server, "media redirect led to status %d", resp.StatusCode)
		}
		at, err = at.Parse(resp.Header.Get("Location"))
	}
	cancel()
	if err != nil {
		return nil, &Unreachable{Server: server, Err: err}
	}
	return nil, malformed(server, "too many media redirects")
}
