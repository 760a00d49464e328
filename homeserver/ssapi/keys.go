package ssapi

import (
	"context"
	"encoding/json"
	"runtime"

	"konsil/kit/web"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

type none struct{}

type versionAnswer struct {
	Server struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"server"`
}

// SS v1.16 #get_matrixfederationv1version
func (a *API) version(context.Context, none) (versionAnswer, error) {
	var v versionAnswer
	v.Server.Name, v.Server.Version = "Konsil", a.cfg.Version+" ("+runtime.Version()+")"
	return v, nil
}

// SS v1.16 #get_matrixkeyv2server
func (a *API) serverKeys(context.Context, none) (web.Raw, error) {
	own, err := a.cfg.Federation.Keys.Own()
	if err != nil {
		return nil, err
	}
	return own.JSON, nil
}

type notaryRequest struct {
	Server   id.ServerName `path:"serverName"`
	MinValid int64         `query:"minimum_valid_until_ts"`
}

// SS v1.16 #get_matrixkeyv2queryservername
func (a *API) notaryKeys(ctx context.Context, req notaryRequest) (web.Raw, error) {
	documents, err := a.cfg.Federation.Keys.Query(ctx, req.Server, req.MinValid)
	return keysAnswer(documents), err
}

// maxNotary is how many servers one request may ask for.
const maxNotary = 100

type bulkNotaryRequest struct {
	Wanted map[string]map[string]json.RawMessage `json:"server_keys"`
}

// SS v1.16 #post_matrixkeyv2query
func (a *API) bulkNotaryKeys(ctx context.Context, req bulkNotaryRequest) (web.Raw, error) {
	if len(req.Wanted) > maxNotary {
		return nil, mxerr.TooLarge("More than %d servers in one query", maxNotary)
	}
	wanted := make(map[id.ServerName]int64, len(req.Wanted))
	for name, keys := range req.Wanted {
		server, err := id.ParseServerName(name)
		if err != nil {
			continue
		}
		var latest int64
		for _, raw := range keys {
			var criteria struct {
				MinValid int64 `json:"minimum_valid_until_ts"`
			}
			if json.Unmarshal(raw, &criteria) == nil {
				latest = max(latest, criteria.MinValid)
			}
		}
		wanted[server] = latest
	}
	documents, err := a.cfg.Federation.Keys.QueryAll(ctx, wanted)
	return keysAnswer(documents), err
}

func keysAnswer(documents [][]byte) web.Raw {
	out := []byte(`{"server_keys":[`)
	for i, d := range documents {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, d...)
	}
	return append(out, `]}`...)
}
