package media

import (
	"mime"
	"strings"
)

// inline are the types browsers may show; all others are for saving only. CS v1.16 #serving-inline-content
var inline = map[string]bool{
	"text/css": true, "text/plain": true, "text/csv": true, "application/json": true, "application/ld+json": true,
	"image/jpeg": true, "image/gif": true, "image/png": true, "image/apng": true, "image/webp": true, "image/avif": true,
	"video/mp4": true, "video/webm": true, "video/ogg": true, "video/quicktime": true,
	"audio/mp4": true, "audio/webm": true, "audio/aac": true, "audio/mpeg": true, "audio/ogg": true, "audio/wave": true,
	"audio/wav": true, "audio/x-wav": true, "audio/x-pn-wav": true, "audio/flac": true, "audio/x-flac": true,
}

// SafeType is the type the uploader claimed, as far as it is a type at all.
func (f *File) SafeType() string {
	if _, _, err := mime.ParseMediaType(f.ContentType); err != nil || strings.ContainsAny(f.ContentType, "\r\n") {
		return "application/octet-stream"
	}
	return f.ContentType
}

// Disposition is the Content-Disposition: what browsers may show inline is decided on the normalised type, so that case and
// parameters change nothing (B2). RFC 6266
func (f *File) Disposition() string {
	kind, _, err := mime.ParseMediaType(f.ContentType)
	how := "attachment"
	if err == nil && inline[kind] {
		how = "inline"
	}
	if f.Name == "" {
		return how
	}
	if written := mime.FormatMediaType(how, map[string]string{"filename": f.Name}); written != "" {
		return written
	}
	return how
}
