package account_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/store"
	"konsil/matrix/mxerr"
)

// ask proves an operation of anna's, and gives what the client is asked for; nil means that it is proved.
func ask(t *testing.T, w world, op account.Operation, body string) *account.Unproven {
	t.Helper()
	op.Body = json.RawMessage(body)
	_, err := w.Prove(t.Context(), op)
	var more *account.Unproven
	if err == nil || errors.As(err, &more) {
		return more
	}
	t.Fatalf("prove: %v", err)
	return nil
}

func password(session, user, secret string) string {
	return fmt.Sprintf(`{"a":1,"auth":{"type":"m.login.password","session":%q,"identifier":{"type":"m.id.user","user":%q},"password":%q}}`,
		session, user, secret)
}

func TestProve(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	op := account.Operation{Endpoint: "deleteDevices", User: anna, Flows: [][]string{{account.StagePassword}}}
	more := ask(t, w, op, `{"a":1}`)
	if more == nil || more.Session == "" || more.Cause != nil {
		t.Fatalf("without auth: %+v", more)
	}
	body, err := json.Marshal(more)
	must(t, err)
	want := fmt.Sprintf(`{"session":%q,"flows":[{"stages":["m.login.password"]}],"params":{}}`, more.Session)
	if string(body) != want {
		t.Errorf("answer is %s, want %s", body, want)
	}
	wrong := ask(t, w, op, password(more.Session, "anna", "wrong"))
	if wrong == nil || wrong.Cause == nil || wrong.Cause.Code != mxerr.CodeForbidden || wrong.Session != more.Session {
		t.Errorf("with a wrong password: %+v", wrong)
	}
	if got := ask(t, w, op, password(more.Session, "anna", "password")); got != nil {
		t.Errorf("with the password: %+v", got)
	}
	// A session is good for one operation, but a proof needs none.
	if got := ask(t, w, op, password("", string(anna), "password")); got != nil {
		t.Errorf("without a session: %+v", got)
	}
	if got := ask(t, w, op, fmt.Sprintf(`{"a":1,"auth":{"session":%q}}`, more.Session)); got == nil {
		t.Error("a session that is over proves something")
	}
}

// B12: what was proved for one thing is worth nothing for another.
func TestB12ProofsAreBound(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna, bert := w.user(t, "anna"), w.user(t, "bert")
	robot, err := w.Register(t.Context(), account.NewAccount{Localpart: "robot"})
	must(t, err)
	two := [][]string{{account.StageDummy, account.StagePassword}}
	op := account.Operation{Endpoint: "deleteDevices", User: anna, Flows: two}
	begin := func() string {
		t.Helper()
		session := ask(t, w, op, `{"a":1}`).Session
		more := ask(t, w, op, fmt.Sprintf(`{"auth":{"type":"m.login.dummy","session":%q},"a":1}`, session))
		if more == nil || len(more.Completed) != 1 || more.Session != session {
			t.Fatalf("after the first stage: %+v", more)
		}
		return session
	}
	refused := map[string]account.Operation{
		"another endpoint": {Endpoint: "changePassword", User: anna, Flows: two},
		"another user":     {Endpoint: "deleteDevices", User: bert, Flows: two},
	}
	for name, other := range refused {
		other.Body = json.RawMessage(password(begin(), string(other.User), "password"))
		if _, err := w.Prove(t.Context(), other); !mxerr.Is(err, mxerr.CodeForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	changed := op
	changed.Body = json.RawMessage(fmt.Sprintf(`{"a":2,"auth":{"type":"m.login.password","session":%q,"password":"password"}}`, begin()))
	if _, err := w.Prove(t.Context(), changed); !mxerr.Is(err, mxerr.CodeForbidden) {
		t.Errorf("another body: %v", err)
	}
	session := begin()
	if got := ask(t, w, op, password(session, "anna", "password")); got != nil {
		t.Errorf("all stages: %+v", got)
	}
	if got := ask(t, w, op, password(session, "anna", "password")); got == nil {
		t.Error("a completed session proves a second operation")
	}
	old := begin()
	w.clock.Advance(time.Hour)
	if got := ask(t, w, op, password(old, "anna", "password")); got == nil {
		t.Error("a session from an hour ago keeps its stages")
	}
	onlyPassword := account.Operation{Endpoint: "x", User: anna, Flows: [][]string{{account.StagePassword}}}
	if got := ask(t, w, onlyPassword, `{"auth":{"type":"m.login.dummy"}}`); got == nil || got.Cause == nil {
		t.Errorf("a stage nobody offered: %+v", got)
	}
	if got := ask(t, w, account.Operation{Endpoint: "x", User: anna, Flows: [][]string{{}}}, `{"auth":{}}`); got == nil {
		t.Error("a flow without stages proves something")
	}
	onlyPassword.Body = json.RawMessage(password("", string(bert), "password"))
	if _, err := w.Prove(t.Context(), onlyPassword); !mxerr.Is(err, mxerr.CodeForbidden) {
		t.Errorf("somebody else's password: %v", err)
	}
	for _, secret := range []string{"", "password"} {
		robots := account.Operation{Endpoint: "x", User: robot, Flows: [][]string{{account.StagePassword}}}
		if got := ask(t, w, robots, password("", string(robot), secret)); got == nil {
			t.Error("an account without a password proved itself with one")
		}
	}
}

func TestProveRefusesNonsense(t *testing.T) {
	w := sqliteWorld(t, nil)
	anna := w.user(t, "anna")
	for _, body := range []string{`[]`, `{"auth":1}`, `{"auth":{"type":1}}`, `{"auth":{"identifier":"x"}}`} {
		_, err := w.Prove(t.Context(), account.Operation{User: anna, Body: json.RawMessage(body), Flows: [][]string{{account.StagePassword}}})
		wantCode(t, err, mxerr.CodeBadJSON)
	}
}

func TestRegistrationTokens(t *testing.T) {
	eachWorld(t, nil, func(t *testing.T, w world) {
		token, err := w.CreateRegistrationToken(t.Context(), store.RegistrationToken{UsesAllowed: 1, Expires: w.clock.Now().Add(time.Hour).UnixMilli()})
		must(t, err)
		op := account.Operation{Endpoint: "register", AnyBody: true, Flows: [][]string{{account.StageRegistrationToken}}}
		if got := ask(t, w, op, `{"auth":{"type":"m.login.registration_token","token":"no"}}`); got == nil || got.Cause == nil {
			t.Errorf("with a wrong token: %+v", got)
		}
		op.Body = json.RawMessage(fmt.Sprintf(`{"auth":{"type":"m.login.registration_token","token":%q}}`, token))
		proof, err := w.Prove(t.Context(), op)
		must(t, err)
		if proof.RegistrationToken != token {
			t.Errorf("proof is %+v", proof)
		}
		_, err = w.Register(t.Context(), account.NewAccount{Localpart: "one", Password: "password", Token: token})
		must(t, err)
		_, err = w.Register(t.Context(), account.NewAccount{Localpart: "two", Password: "password", Token: token})
		wantCode(t, err, mxerr.CodeForbidden)
		if err := w.CheckUsername(t.Context(), "two"); err != nil {
			t.Errorf("a refused registration left something behind: %v", err)
		}
		if valid, err := w.RegistrationTokenValid(t.Context(), token); valid || err != nil {
			t.Errorf("a used token is %v, %v", valid, err)
		}
		late, err := w.CreateRegistrationToken(t.Context(), store.RegistrationToken{Token: "late", UsesAllowed: -1, Expires: w.clock.Now().Add(time.Hour).UnixMilli()})
		must(t, err)
		if valid, _ := w.RegistrationTokenValid(t.Context(), late); !valid {
			t.Error("a fresh token is not valid")
		}
		w.clock.Advance(time.Hour)
		if valid, _ := w.RegistrationTokenValid(t.Context(), late); valid {
			t.Error("an expired token is valid")
		}
		for _, bad := range []string{"with space", "ü", string(make([]byte, 65))} {
			_, err := w.CreateRegistrationToken(t.Context(), store.RegistrationToken{Token: bad})
			wantCode(t, err, mxerr.CodeInvalidParam)
		}
	})
}
