package csapi

import (
	"context"

	"konsil/homeserver/account"
	"konsil/homeserver/preview"
	"konsil/matrix/endpoint"
)

// previewRoutes are served only where the operator wants it: the server learns what its users look at.
func (a *API) previewRoutes() []row {
	if a.Previews == nil {
		return nil
	}
	return []row{
		{endpoint.GetUrlPreviewAuthed, user(a.urlPreview), limitSearch},
		{endpoint.GetUrlPreview, user(a.urlPreview), limitSearch},
	}
}

type urlPreviewRequest struct {
	URL string `query:"url" bind:"required"`
}

// urlPreview says what a link leads to. CS v1.16 #get_matrixclientv1mediapreview_url
func (a *API) urlPreview(ctx context.Context, _ account.Caller, req urlPreviewRequest) (preview.Preview, error) {
	return a.Previews.Preview(ctx, req.URL)
}
