package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/mxerr"
	"konsil/matrix/pushrule"
)

func (a *API) pushRuleRoutes() []row {
	return []row{
		{endpoint.GetPushRules, user(a.pushRules), limitRead},
		{endpoint.GetPushRulesGlobal, user(a.globalPushRules), limitRead},
		{endpoint.GetPushRule, user(a.pushRule), limitRead},
		{endpoint.DeletePushRule, user(a.deletePushRule), limitWrite},
		{endpoint.SetPushRule, user(a.setPushRule), limitWrite},
		{endpoint.IsPushRuleEnabled, user(a.pushRuleEnabled), limitRead},
		{endpoint.SetPushRuleEnabled, user(a.enablePushRule), limitWrite},
		{endpoint.GetPushRuleActions, user(a.pushRuleActions), limitRead},
		{endpoint.SetPushRuleActions, user(a.setPushRuleActions), limitWrite},
	}
}

// pushRules gives all rules. CS v1.16 #get_matrixclientv3pushrules
func (a *API) pushRules(ctx context.Context, caller account.Caller, _ None) (web.Raw, error) {
	rules, err := a.Push.Rules(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	return rules.Content(string(caller.User))
}

func (a *API) globalPushRules(ctx context.Context, caller account.Caller, _ None) (map[pushrule.Kind][]pushrule.Rule, error) {
	rules, err := a.Push.Rules(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	return rules.All(string(caller.User)), nil
}

type pushRulePath struct {
	Kind pushrule.Kind `path:"kind"`
	ID   string        `path:"ruleId"`
}

func (a *API) pushRule(ctx context.Context, caller account.Caller, req pushRulePath) (pushrule.Rule, error) {
	rules, err := a.Push.Rules(ctx, caller.User)
	if err != nil {
		return pushrule.Rule{}, err
	}
	return rules.Get(string(caller.User), req.Kind, req.ID)
}

func (a *API) deletePushRule(ctx context.Context, caller account.Caller, req pushRulePath) (None, error) {
	return None{}, a.Push.DeleteRule(ctx, caller.User, req.Kind, req.ID)
}

type setPushRuleRequest struct {
	Kind       pushrule.Kind     `path:"kind"`
	ID         string            `path:"ruleId"`
	Before     string            `query:"before"`
	After      string            `query:"after"`
	Pattern    *string           `json:"pattern"`
	Conditions []json.RawMessage `json:"conditions"`
	Actions    []json.RawMessage `json:"actions"`
}

// setPushRule adds a rule or replaces it. CS v1.16 #put_matrixclientv3pushrulesglobalkindruleid
func (a *API) setPushRule(ctx context.Context, caller account.Caller, req setPushRuleRequest) (None, error) {
	rule := pushrule.NewRule(req.Kind, req.ID, req.Pattern, req.Conditions, req.Actions)
	return None{}, a.Push.PutRule(ctx, caller.User, req.Kind, rule, req.Before, req.After)
}

type pushRuleEnabledResponse struct {
	Enabled bool `json:"enabled"`
}

func (a *API) pushRuleEnabled(ctx context.Context, caller account.Caller, req pushRulePath) (pushRuleEnabledResponse, error) {
	rule, err := a.pushRule(ctx, caller, req)
	return pushRuleEnabledResponse{rule.Enabled}, err
}

type enablePushRuleRequest struct {
	Kind    pushrule.Kind `path:"kind"`
	ID      string        `path:"ruleId"`
	Enabled *bool         `json:"enabled"`
}

func (a *API) enablePushRule(ctx context.Context, caller account.Caller, req enablePushRuleRequest) (None, error) {
	if req.Enabled == nil {
		return None{}, mxerr.MissingParam("enabled is missing")
	}
	return None{}, a.Push.EnableRule(ctx, caller.User, req.Kind, req.ID, *req.Enabled)
}

type pushRuleActionsResponse struct {
	Actions []json.RawMessage `json:"actions"`
}

func (a *API) pushRuleActions(ctx context.Context, caller account.Caller, req pushRulePath) (pushRuleActionsResponse, error) {
	rule, err := a.pushRule(ctx, caller, req)
	return pushRuleActionsResponse{rule.Actions}, err
}

type setPushRuleActionsRequest struct {
	Kind    pushrule.Kind     `path:"kind"`
	ID      string            `path:"ruleId"`
	Actions []json.RawMessage `json:"actions"`
}

func (a *API) setPushRuleActions(ctx context.Context, caller account.Caller, req setPushRuleActionsRequest) (None, error) {
	return None{}, a.Push.SetRuleActions(ctx, caller.User, req.Kind, req.ID, req.Actions)
}
