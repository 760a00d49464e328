package account

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// The stages of user-interactive authentication that we know. CS v1.16 #authentication-types
const (
	StagePassword          = "m.login.password"
	StageDummy             = "m.login.dummy"
	StageRegistrationToken = "m.login.registration_token"
)

// Operation is what user-interactive authentication is asked for. A session proves one operation: it is worth nothing for
// another endpoint, user or body (B12).
type Operation struct {
	Endpoint string          // its operationId
	User     id.UserID       // who has to prove themselves; "" for registrations
	Body     json.RawMessage // of the request; may be empty
	AnyBody  bool            // the body may change from stage to stage, as clients do it that ask for the flows of /register first
	Flows    [][]string
}

// operation is an Operation under way.
type operation struct {
	endpoint  string
	user      id.UserID
	body      [sha256.Size]byte
	completed []string
	token     string // registration token that was shown
}

// Proof is what was proved, for the operation that follows.
type Proof struct {
	RegistrationToken string
}

// Unproven asks the client for the next stage: the answer to a request that is not authenticated yet.
// CS v1.16 #user-interactive-api-in-the-rest-api
type Unproven struct {
	Session   string
	Flows     [][]string
	Completed []string
	Cause     *mxerr.Error // why the last attempt failed; nil if there was none
}

func (u *Unproven) Error() string { return "user-interactive authentication required" }

// HTTPStatus is that of all such answers.
func (u *Unproven) HTTPStatus() int { return 401 }

// MarshalJSON writes the answer.
func (u *Unproven) MarshalJSON() ([]byte, error) {
	type flow struct {
		Stages []string `json:"stages"`
	}
	body := struct {
		Code      string              `json:"errcode,omitempty"`
		Message   string              `json:"error,omitempty"`
		Session   string              `json:"session"`
		Flows     []flow              `json:"flows"`
		Params    map[string]struct{} `json:"params"`
		Completed []string            `json:"completed,omitempty"`
	}{Session: u.Session, Flows: []flow{}, Params: map[string]struct{}{}, Completed: u.Completed}
	for _, stages := range u.Flows {
		body.Flows = append(body.Flows, flow{stages})
	}
	if u.Cause != nil {
		body.Code, body.Message = u.Cause.Code, u.Cause.Message
	}
	return json.Marshal(body)
}

// Identifier names a user in a login or a stage. CS v1.16 #identifier-types
type Identifier struct {
	Type string `json:"type"`
	User string `json:"user"`
}

// authData is the auth object of a request.
type authData struct {
	Type       string     `json:"type"`
	Session    string     `json:"session"`
	Identifier Identifier `json:"identifier"`
	User       string     `json:"user"` // the identifier of older clients
	Password   string     `json:"password"`
	Token      string     `json:"token"`
}

// Prove takes the auth object of a request one stage further. Nil error: the operation is proved and its session is gone.
// *Unproven: the client has to go on. Anything else refuses the request.
func (k *Keeper) Prove(ctx context.Context, op Operation) (Proof, error) {
	auth, digest, err := splitAuth(op.Body)
	if err != nil {
		return Proof{}, err
	}
	if op.AnyBody {
		digest = [sha256.Size]byte{}
	}
	session, under := "", &operation{endpoint: op.Endpoint, user: op.User, body: digest}
	if auth != nil && auth.Session != "" {
		if known, ok := k.proofs.get(auth.Session); ok {
			if known.endpoint != op.Endpoint || known.user != op.User || known.body != digest {
				return Proof{}, mxerr.Forbidden("The request has changed during authentication")
			}
			session, under = auth.Session, known
		}
	}
	var refused *mxerr.Error
	if auth != nil && auth.Type != "" {
		// An operation is never changed once others can see it: stages work on a copy.
		if under, refused, err = k.stage(ctx, op, under, *auth); err != nil {
			return Proof{}, err
		}
	}
	if slices.ContainsFunc(op.Flows, func(stages []string) bool { return auth != nil && covers(under.completed, stages) }) {
		k.proofs.take(session)
		return Proof{RegistrationToken: under.token}, nil
	}
	// A new name for each step would be safer still, but clients keep the first one.
	if session == "" {
		if session, err = k.secret(18); err != nil {
			return Proof{}, err
		}
	} else {
		k.proofs.take(session)
	}
	k.proofs.put(session, under)
	return Proof{}, &Unproven{Session: session, Flows: op.Flows, Completed: under.completed, Cause: refused}
}

// covers says whether all stages were completed. A flow without stages is never complete: nothing was proved.
func covers(completed, stages []string) bool {
	for _, stage := range stages {
		if !slices.Contains(completed, stage) {
			return false
		}
	}
	return len(stages) > 0
}

// stage tries one stage. A stage that is in none of the flows proves nothing (B12).
func (k *Keeper) stage(ctx context.Context, op Operation, under *operation, auth authData) (*operation, *mxerr.Error, error) {
	if !slices.ContainsFunc(op.Flows, func(stages []string) bool { return slices.Contains(stages, auth.Type) }) {
		return under, mxerr.Forbidden("This kind of authentication is not offered here"), nil
	}
	if slices.Contains(under.completed, auth.Type) {
		return under, nil, nil
	}
	next := *under
	switch auth.Type {
	case StageDummy:
	case StagePassword:
		refused, err := k.passwordStage(ctx, op.User, auth)
		if refused != nil || err != nil {
			return under, refused, err
		}
	case StageRegistrationToken:
		valid, err := k.RegistrationTokenValid(ctx, auth.Token)
		if err != nil {
			return under, nil, fmt.Errorf("check a registration token: %w", err)
		}
		if !valid {
			return under, mxerr.New(401, mxerr.CodeUnauthorized, "Invalid registration token"), nil
		}
		next.token = auth.Token
	default:
		return under, nil, fmt.Errorf("stage %q is offered but not known", auth.Type)
	}
	next.completed = append(slices.Clone(under.completed), auth.Type)
	return &next, nil, nil
}

// passwordStage checks the password of the user who makes the request; somebody else's is refused, right or wrong.
func (k *Keeper) passwordStage(ctx context.Context, user id.UserID, auth authData) (refused *mxerr.Error, err error) {
	name := auth.Identifier.User
	if name == "" {
		name = auth.User
	}
	if auth.Identifier.Type != "" && auth.Identifier.Type != "m.id.user" {
		return nil, mxerr.Forbidden("This kind of identifier is not known here")
	}
	if named, ok := k.UserOf(name); name != "" && (!ok || named != user) && name != string(user) {
		return nil, mxerr.Forbidden("Only the account's owner can confirm this")
	}
	err = k.CheckPassword(ctx, user, auth.Password)
	if mxerr.Is(err, mxerr.CodeForbidden) {
		return mxerr.Forbidden("Invalid password"), nil
	}
	return nil, err
}

// splitAuth takes the auth object out of a body, and digests the rest so that spelling does not matter.
func splitAuth(body []byte) (*authData, [sha256.Size]byte, error) {
	rest := map[string]any{}
	if len(bytes.TrimSpace(body)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if err := dec.Decode(&rest); err != nil {
			return nil, [sha256.Size]byte{}, mxerr.BadJSON("Content not a JSON object")
		}
	}
	raw, given := rest["auth"]
	delete(rest, "auth")
	canonical, err := json.Marshal(rest)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("digest a request: %w", err)
	}
	digest := sha256.Sum256(canonical)
	if !given || raw == nil {
		return nil, digest, nil
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, digest, fmt.Errorf("read auth: %w", err)
	}
	auth := &authData{}
	if err := json.Unmarshal(text, auth); err != nil {
		return nil, digest, mxerr.BadJSON("Invalid value for auth")
	}
	return auth, digest, nil
}
