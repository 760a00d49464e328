package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
)

func (a *API) crossSigningRoutes() []row {
	return []row{
		{endpoint.UploadCrossSigningKeys, user(a.uploadCrossSigning), limitProve},
		{endpoint.UploadCrossSigningSignatures, user(a.uploadSignatures), limitKeys},
	}
}

type crossSigningRequest struct {
	Master      json.RawMessage `json:"master_key"`
	SelfSigning json.RawMessage `json:"self_signing_key"`
	UserSigning json.RawMessage `json:"user_signing_key"`
	Body        json.RawMessage `body:"raw"`
}

// uploadCrossSigning publishes a user's cross-signing keys. Replacing them takes a proof: who has stolen an access token must
// not be able to make other people trust new keys. CS v1.16 #post_matrixclientv3keysdevice_signingupload
func (a *API) uploadCrossSigning(ctx context.Context, caller account.Caller, req crossSigningRequest) (None, error) {
	change, err := a.E2EE.CheckCrossSigning(ctx, caller.User, e2ee.CrossSigningUpload{
		Master: req.Master, SelfSigning: req.SelfSigning, UserSigning: req.UserSigning})
	if err != nil {
		return None{}, err
	}
	if change.NeedsProof {
		if err := a.prove(ctx, caller, endpoint.UploadCrossSigningKeys, req.Body); err != nil {
			return None{}, err
		}
	}
	return None{}, a.E2EE.SetCrossSigning(ctx, caller.User, change)
}

type signaturesRequest struct {
	Body json.RawMessage `body:"raw"`
}

type signaturesResponse struct {
	Failures e2ee.Failures `json:"failures"`
}

func (a *API) uploadSignatures(ctx context.Context, caller account.Caller, req signaturesRequest) (signaturesResponse, error) {
	var signed e2ee.Signed
	if err := json.Unmarshal(req.Body, &signed); err != nil {
		return signaturesResponse{}, mxerr.BadJSON("The body is no map of maps of signed objects")
	}
	failures, err := a.E2EE.UploadSignatures(ctx, caller.User, signed)
	return signaturesResponse{failures}, err
}
