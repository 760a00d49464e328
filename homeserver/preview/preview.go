// Package preview looks at web pages for clients: title, description and picture of what a link in a message leads to. It is
// off unless the operator wants it, for the server learns where its users look.
//
// A URL is foreign text that makes this server call somebody: only public addresses are connected to, checked at each hop; what
// is read is bounded in bytes and time; a page is looked at without building a tree, a picture without decoding it (B4, A30).
// A Previewer is safe for concurrent use. CS v1.16 #get_matrixclientv1mediapreview_url
package preview

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // formats of pictures that are measured
	_ "image/jpeg"
	_ "image/png"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	_ "golang.org/x/image/webp"
	"golang.org/x/sync/singleflight"

	"konsil/homeserver/media"
	"konsil/kit/cache"
	"konsil/kit/clock"
	"konsil/kit/dial"
	"konsil/kit/obs"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Config is what a Previewer stands on.
type Config struct {
	Server id.ServerName
	Media  *media.Repository // keeps the pictures
	Clock  clock.Clock
	Log    *slog.Logger

	// Reachable says which addresses may be connected to; nil means dial.Public. Tests and development allow more.
	Reachable func(netip.Addr) bool
}

// Bounds of one preview.
const (
	maxPage      = 1 << 20  // bytes of HTML; the head comes first
	maxImage     = 10 << 20 // bytes
	maxRedirects = 5
	maxURL       = 4096
	patience     = 15 * time.Second // for page and picture together
	atOnce       = 8                // previews that are being made for one domain

	cacheBytes = 1 << 20
	lifetime   = time.Hour // of a preview in memory
)

// Previewer makes previews for one domain.
type Previewer struct {
	cfg    Config
	client *http.Client
	turns  chan struct{}
	flight singleflight.Group
	known  *cache.Cache[string, result]
}

type result struct {
	preview Preview
	until   time.Time
}

// Preview is a page's OpenGraph data; values are texts and numbers.
type Preview map[string]any

// New assembles a Previewer.
func New(cfg Config) *Previewer {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Reachable == nil {
		cfg.Reachable = dial.Public
	}
	p := &Previewer{cfg: cfg, turns: make(chan struct{}, atOnce)}
	p.known = cache.New(cacheBytes, func(_ string, r result) int64 { return r.preview.size() })
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: p.control}
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, MaxConnsPerHost: 4, DisableKeepAlives: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			return allowed(r.URL)
		},
	}
	return p
}

func (p Preview) size() int64 {
	size := int64(0)
	for key, value := range p {
		text, _ := value.(string)
		size += int64(len(key)+len(text)) + 64
	}
	return size
}

// control is called with the address of each connection before it is made.
func (p *Previewer) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !p.cfg.Reachable(addr.Addr().Unmap()) {
		return dial.ErrPrivate
	}
	return nil
}

// allowed refuses addresses that no link in a message should lead to.
func allowed(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil:
		return mxerr.InvalidParam("Invalid value for url")
	case u.Port() == "" || u.Port() == "80" || u.Port() == "443":
		return nil
	}
	// Other ports below 1024 are those of mail, databases' neighbours and printers: not of web pages.
	if port, err := netip.ParseAddrPort("[::]:" + u.Port()); err != nil || port.Port() < 1024 {
		return mxerr.InvalidParam("Invalid value for url")
	}
	return nil
}

// errUnavailable is the one answer to all that may be wrong with a page: it must not tell what lies behind our walls (A30).
func errUnavailable() error {
	return mxerr.New(http.StatusBadGateway, mxerr.CodeUnknown, "The page could not be fetched")
}

// Preview looks at a page. Several who ask for the same wait for one answer, which is kept for a while.
func (p *Previewer) Preview(ctx context.Context, address string) (Preview, error) {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxURL {
		return nil, mxerr.InvalidParam("Invalid value for url")
	}
	if err := allowed(u); err != nil {
		return nil, err
	}
	u.Fragment = ""
	key := u.String()
	if r, ok := p.known.Get(key); ok && p.cfg.Clock.Now().Before(r.until) {
		return r.preview, nil
	}
	done := p.flight.DoChan(key, func() (any, error) {
		// Others may wait for it: it does not end with who asked first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return p.make(ctx, key)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(Preview), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *Previewer) make(ctx context.Context, address string) (Preview, error) {
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, errUnavailable()
	}
	defer func() { <-p.turns }()
	preview, err := p.look(ctx, address)
	if err != nil {
		// Which page it was is nobody's business but the user's.
		p.cfg.Log.Info("a page could not be previewed", obs.KeyError, reason(err))
		return nil, errUnavailable()
	}
	p.known.Put(address, result{preview, p.cfg.Clock.Now().Add(lifetime)})
	return preview, nil
}

// reason takes the URL out of an error of net/http.
func reason(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// look fetches a page, and the picture it names.
func (p *Previewer) look(ctx context.Context, address string) (Preview, error) {
	got, err := p.get(ctx, address, "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.1", maxPage)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(got.kind, "image/"):
		out := Preview{"og:title": clean(path.Base(got.at.Path), maxProperty)}
		if got, err = p.get(ctx, got.at.String(), "image/*", maxImage); err == nil {
			p.addImage(ctx, out, got)
		}
		return out, nil
	case got.kind == "text/html" || got.kind == "application/xhtml+xml":
		return p.ofPage(ctx, parsePage(got.body, got.contentType), got.at), nil
	}
	return Preview{}, nil // whatever else it is has nothing to show
}

// ofPage makes the preview of a page.
func (p *Previewer) ofPage(ctx context.Context, found page, at *url.URL) Preview {
	graph := maps.Clone(found.graph)
	picture := graph["og:image"]
	for _, other := range []string{"og:image:secure_url", "og:image:url"} {
		if picture == "" {
			picture = graph[other]
		}
	}
	out := Preview{}
	for name, value := range graph {
		if !strings.HasPrefix(name, "og:image") { // what the page says of its picture is replaced by what it is
			out[name] = value
		}
	}
	if _, given := out["og:title"]; !given && found.title != "" {
		out["og:title"] = found.title
	}
	if _, given := out["og:description"]; !given && found.description != "" {
		out["og:description"] = found.description
	}
	if picture == "" {
		return out
	}
	target, err := at.Parse(picture)
	if err != nil || allowed(target) != nil {
		return out
	}
	got, err := p.get(ctx, target.String(), "image/*", maxImage)
	if err != nil {
		p.cfg.Log.Info("the picture of a page could not be fetched", obs.KeyError, reason(err))
		return out
	}
	p.addImage(ctx, out, got)
	return out
}

// addImage keeps a picture and adds it to a preview. What can not be measured is none.
func (p *Previewer) addImage(ctx context.Context, out Preview, got answer) {
	size, format, err := image.DecodeConfig(bytes.NewReader(got.body))
	if err != nil || got.cut {
		return
	}
	contentType := "image/" + format
	mediaID, err := p.cfg.Media.Upload(ctx, media.Upload{ContentType: contentType, Body: bytes.NewReader(got.body)})
	if err != nil {
		p.cfg.Log.Warn("keep the picture of a page", obs.KeyError, err)
		return
	}
	out["og:image"] = "mxc://" + string(p.cfg.Server) + "/" + mediaID
	out["og:image:type"] = contentType
	out["og:image:width"], out["og:image:height"] = size.Width, size.Height
	out["matrix:image:size"] = len(got.body)
}

// answer is what a server has sent.
type answer struct {
	at          *url.URL // after redirects
	contentType string
	kind        string // the media type, in lower case
	body        []byte
	cut         bool // there was more
}

// get fetches up to limit bytes. What is sent compressed counts as it comes out.
func (p *Previewer) get(ctx context.Context, address, accept string, limit int64) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "Konsil (link preview)")
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("status %d", resp.StatusCode)
	}
	got := answer{at: resp.Request.URL, contentType: resp.Header.Get("Content-Type")}
	got.kind, _, err = mime.ParseMediaType(got.contentType)
	if err != nil {
		return answer{}, errors.New("no content type")
	}
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if got.cut = int64(len(got.body)) > limit; got.cut {
		got.body = got.body[:limit]
	}
	if err != nil && ctx.Err() == nil && len(got.body) > 0 {
		err = nil // a page that breaks off may still have had a head
	}
	return got, err
}
