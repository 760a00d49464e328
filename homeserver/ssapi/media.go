package ssapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"time"

	"konsil/kit/web"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// File is an opened file of ours.
type File struct {
	ContentType string
	Disposition string // Content-Disposition, ready
	Size        int64
	Body        io.ReadCloser
}

type downloadRequest struct {
	MediaID string `path:"mediaId"`
	Timeout *int64 `query:"timeout_ms"`
}

const (
	defaultWait = 20 * time.Second
	maxWait     = time.Minute
)

func wait(ms *int64) time.Duration {
	if ms == nil || *ms < 0 {
		return defaultWait
	}
	return min(time.Duration(min(*ms, maxWait.Milliseconds()))*time.Millisecond, maxWait)
}

// SS v1.16 #get_matrixfederationv1mediadownloadmediaid
func (a *API) download(ctx context.Context, _ id.ServerName, req downloadRequest) (*web.Stream, error) {
	if a.cfg.Media == nil {
		return nil, mxerr.NotFound("Media not found")
	}
	file, err := a.cfg.Media.LocalFile(ctx, req.MediaID, wait(req.Timeout))
	if err != nil {
		return nil, err
	}
	return multipart(file)
}

type thumbnailRequest struct {
	MediaID  string `path:"mediaId"`
	Timeout  *int64 `query:"timeout_ms"`
	Width    int    `query:"width" bind:"required"`
	Height   int    `query:"height" bind:"required"`
	Method   string `query:"method"`
	Animated bool   `query:"animated"`
}

// SS v1.16 #get_matrixfederationv1mediathumbnailmediaid
func (a *API) thumbnail(ctx context.Context, _ id.ServerName, req thumbnailRequest) (*web.Stream, error) {
	if a.cfg.Media == nil {
		return nil, mxerr.NotFound("Media not found")
	}
	file, err := a.cfg.Media.LocalThumbnail(ctx, req.MediaID, wait(req.Timeout), req.Width, req.Height, req.Method, req.Animated)
	if err != nil {
		return nil, err
	}
	return multipart(file)
}

// multipart frames a file: a part of JSON that says nothing yet, then the file. The boundary is drawn, so no file can hold
// it by intent. RFC 2046 5.1.1
func multipart(file File) (*web.Stream, error) {
	var random [18]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	boundary := hex.EncodeToString(random[:])
	var head bytes.Buffer
	head.WriteString("--" + boundary + "\r\nContent-Type: application/json\r\n\r\n{}\r\n--" + boundary + "\r\n")
	part := http.Header{"Content-Type": {file.ContentType}}
	if file.Disposition != "" {
		part.Set("Content-Disposition", file.Disposition)
	}
	if err := part.Write(&head); err != nil {
		return nil, err
	}
	head.WriteString("\r\n")
	tail := "\r\n--" + boundary + "--\r\n"
	size := int64(-1)
	if file.Size >= 0 {
		size = int64(head.Len()) + file.Size + int64(len(tail))
	}
	return &web.Stream{
		Header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + boundary}},
		Size:   size,
		Body:   framed{io.MultiReader(&head, file.Body, bytes.NewReader([]byte(tail))), file.Body},
	}, nil
}

// framed closes the file with the answer.
type framed struct {
	io.Reader
	io.Closer
}
