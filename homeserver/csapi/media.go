package csapi

import (
	"context"
	"net/http"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/media"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) mediaRoutes() []row {
	rows := []row{
		{endpoint.GetConfigAuthed, user(a.mediaConfig), limitRead},
		{endpoint.GetConfig, user(a.mediaConfig), limitRead},
		{endpoint.UploadContent, userHTTP(a.uploadContent), limitMedia},
		{endpoint.CreateContent, user(a.createContent), limitMedia},
		{endpoint.UploadContentToMXC, userHTTP(a.uploadContentToMXC), limitMedia},
		{endpoint.GetContentAuthed, user(a.downloadAuthed), limitMedia},
		{endpoint.GetContentOverrideNameAuthed, user(a.downloadAuthed), limitMedia},
		{endpoint.GetContentThumbnailAuthed, user(a.thumbnailAuthed), limitMedia},
	}
	if !a.AuthenticatedMediaOnly {
		rows = append(rows,
			row{endpoint.GetContent, public(a.download), limitMedia},
			row{endpoint.GetContentOverrideName, public(a.download), limitMedia},
			row{endpoint.GetContentThumbnail, public(a.thumbnail), limitMedia},
		)
	}
	return rows
}

type mediaConfigResponse struct {
	Upload int64 `json:"m.upload.size"`
}

// mediaConfig says how large files may be. CS v1.16 #get_matrixclientv1mediaconfig
func (a *API) mediaConfig(context.Context, account.Caller, None) (mediaConfigResponse, error) {
	return mediaConfigResponse{a.Media.MaxUpload()}, nil
}

type contentURIResponse struct {
	URI     string `json:"content_uri"`
	Expires int64  `json:"unused_expires_at,omitempty"` // ms
}

func (a *API) contentURI(mediaID string) string { return "mxc://" + string(a.Server) + "/" + mediaID }

// uploadContent takes a file. CS v1.16 #post_matrixmediav3upload
func (a *API) uploadContent(ctx context.Context, caller account.Caller, r *http.Request) (any, error) {
	up, err := a.upload(caller, r)
	if err != nil {
		return nil, err
	}
	mediaID, err := a.Media.Upload(ctx, up)
	if err != nil {
		return nil, err
	}
	return contentURIResponse{URI: a.contentURI(mediaID)}, nil
}

// upload reads what the request says of its file. A size that is honestly too large is refused before any byte is read.
func (a *API) upload(caller account.Caller, r *http.Request) (media.Upload, error) {
	if r.ContentLength > a.Media.MaxUpload() {
		return media.Upload{}, mxerr.TooLarge("The file is larger than %d bytes", a.Media.MaxUpload())
	}
	return media.Upload{User: caller.User, ContentType: r.Header.Get("Content-Type"), Name: r.URL.Query().Get("filename"), Body: r.Body}, nil
}

// createContent announces a file. CS v1.16 #post_matrixmediav1create
func (a *API) createContent(ctx context.Context, caller account.Caller, _ None) (contentURIResponse, error) {
	mediaID, expires, err := a.Media.Create(ctx, caller.User)
	if err != nil {
		return contentURIResponse{}, err
	}
	return contentURIResponse{URI: a.contentURI(mediaID), Expires: expires.UnixMilli()}, nil
}

// uploadContentToMXC takes an announced file. CS v1.16 #put_matrixmediav3uploadservernamemediaid
func (a *API) uploadContentToMXC(ctx context.Context, caller account.Caller, r *http.Request) (any, error) {
	up, err := a.upload(caller, r)
	if err != nil {
		return nil, err
	}
	return None{}, a.Media.Complete(ctx, id.ServerName(r.PathValue("serverName")), r.PathValue("mediaId"), up)
}

// defaultWait is timeout_ms where the client names none. CS v1.16 #get_matrixclientv1mediadownloadservernamemediaid
const defaultWait = 20 * time.Second

type downloadRequest struct {
	Server      id.ServerName `path:"serverName"`
	MediaID     string        `path:"mediaId"`
	FileName    string        `path:"fileName"`
	Timeout     *int64        `query:"timeout_ms"`
	AllowRemote *bool         `query:"allow_remote"`
}

func (req downloadRequest) wait() time.Duration {
	if req.Timeout == nil {
		return defaultWait
	}
	return time.Duration(min(max(*req.Timeout, 0), time.Minute.Milliseconds())) * time.Millisecond
}

// local refuses files of other servers where the asker does not want them fetched.
func (a *API) local(server id.ServerName, allowRemote *bool) error {
	if server != a.Server && allowRemote != nil && !*allowRemote {
		return mxerr.NotFound("Media not found")
	}
	return nil
}

// downloadAuthed gives a file to who is logged in. CS v1.16 #get_matrixclientv1mediadownloadservernamemediaid
func (a *API) downloadAuthed(ctx context.Context, _ account.Caller, req downloadRequest) (web.Stream, error) {
	return a.download(ctx, req)
}

// download gives a file to anybody who knows its ID: the older endpoint. CS v1.16 #get_matrixmediav3downloadservernamemediaid
func (a *API) download(ctx context.Context, req downloadRequest) (web.Stream, error) {
	if err := a.local(req.Server, req.AllowRemote); err != nil {
		return web.Stream{}, err
	}
	f, err := a.Media.Open(ctx, req.Server, req.MediaID, req.wait())
	if err != nil {
		return web.Stream{}, err
	}
	if req.FileName != "" {
		f.Name = req.FileName
	}
	return stream(f), nil
}

type thumbnailRequest struct {
	Server      id.ServerName `path:"serverName"`
	MediaID     string        `path:"mediaId"`
	Width       *int          `query:"width"`
	Height      *int          `query:"height"`
	Method      string        `query:"method"`
	Timeout     *int64        `query:"timeout_ms"`
	AllowRemote *bool         `query:"allow_remote"`
}

// thumbnailAuthed gives a smaller picture to who is logged in. CS v1.16 #get_matrixclientv1mediathumbnailservernamemediaid
func (a *API) thumbnailAuthed(ctx context.Context, _ account.Caller, req thumbnailRequest) (web.Stream, error) {
	return a.thumbnail(ctx, req)
}

// thumbnail is its older endpoint. CS v1.16 #get_matrixmediav3thumbnailservernamemediaid
func (a *API) thumbnail(ctx context.Context, req thumbnailRequest) (web.Stream, error) {
	switch {
	case req.Width == nil:
		return web.Stream{}, mxerr.MissingParam("Missing parameter width")
	case req.Height == nil:
		return web.Stream{}, mxerr.MissingParam("Missing parameter height")
	case *req.Width <= 0 || *req.Height <= 0:
		return web.Stream{}, mxerr.InvalidParam("Invalid value for width or height")
	case req.Method != "" && req.Method != "scale" && req.Method != "crop":
		return web.Stream{}, mxerr.InvalidParam("Invalid value for method")
	}
	if err := a.local(req.Server, req.AllowRemote); err != nil {
		return web.Stream{}, err
	}
	method := media.Scale
	if req.Method == "crop" {
		method = media.Crop
	}
	f, err := a.Media.Thumbnail(ctx, req.Server, req.MediaID, *req.Width, *req.Height, method, downloadRequest{Timeout: req.Timeout}.wait())
	if err != nil {
		return web.Stream{}, err
	}
	return stream(f), nil
}

// stream answers a file so that nothing in it can act in the name of this site, whatever it is.
// CS v1.16 #serving-inline-content
func stream(f *media.File) web.Stream {
	h := http.Header{
		"Content-Type":                 {f.SafeType()},
		"Content-Disposition":          {f.Disposition()},
		"Content-Security-Policy":      {"sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';"},
		"Cross-Origin-Resource-Policy": {"cross-origin"},
		"X-Content-Type-Options":       {"nosniff"},
		"Cache-Control":                {"private, max-age=31536000, immutable"}, // a media ID never changes its file
	}
	return web.Stream{Header: h, Size: f.Size, Body: f.File}
}
