package csapi

import (
	"context"
	"strconv"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

// reportRoutes are what users report by, and where operators read it.
func (a *API) reportRoutes() []row {
	if a.Reports == nil {
		return nil
	}
	return []row{
		{endpoint.ReportRoom, user(a.reportRoom), limitReport},
		{endpoint.ReportEvent, user(a.reportEvent), limitReport},
		{endpoint.ReportUser, user(a.reportUser), limitReport},
		{endpoint.ListReports, admin(a.listReports), limitRead},
	}
}

type reportRoomRequest struct {
	Room   id.RoomID `path:"roomId"`
	Reason string    `json:"reason"`
}

func (a *API) reportRoom(ctx context.Context, caller account.Caller, req reportRoomRequest) (None, error) {
	return None{}, a.Reports.Room(ctx, caller.User, req.Room, req.Reason)
}

type reportEventRequest struct {
	Room   id.RoomID  `path:"roomId"`
	Event  id.EventID `path:"eventId"`
	Reason string     `json:"reason"`
}

func (a *API) reportEvent(ctx context.Context, caller account.Caller, req reportEventRequest) (None, error) {
	return None{}, a.Reports.Event(ctx, caller.User, req.Room, req.Event, req.Reason)
}

type reportUserRequest struct {
	User   id.UserID `path:"userId"`
	Reason string    `json:"reason"`
}

func (a *API) reportUser(ctx context.Context, caller account.Caller, req reportUserRequest) (None, error) {
	return None{}, a.Reports.User(ctx, caller.User, req.User, req.Reason)
}

type listReportsRequest struct {
	From  int64 `query:"from"`
	Limit *int  `query:"limit"`
}

type listedReport struct {
	ID       int64      `json:"id"`
	TS       int64      `json:"received_ts"`
	Reporter id.UserID  `json:"user_id"`
	Room     id.RoomID  `json:"room_id,omitempty"`
	Event    id.EventID `json:"event_id,omitempty"`
	User     id.UserID  `json:"sender,omitempty"`
	Reason   string     `json:"reason"`
}

type listReportsResponse struct {
	Reports []listedReport `json:"event_reports"`
	Next    string         `json:"next_token,omitempty"`
	Total   int64          `json:"total"`
}

// listReports shows operators what was reported. It speaks as Synapse does, and lists rooms and users along with the events.
func (a *API) listReports(ctx context.Context, _ account.Caller, req listReportsRequest) (listReportsResponse, error) {
	limit := 100
	if req.Limit != nil {
		limit = min(max(*req.Limit, 1), maxPage)
	}
	list, total, err := a.Reports.List(ctx, max(req.From, 0), limit)
	resp := listReportsResponse{Reports: []listedReport{}, Total: total}
	for _, r := range list {
		resp.Reports = append(resp.Reports, listedReport(r))
	}
	if len(list) == limit {
		resp.Next = strconv.FormatInt(list[limit-1].ID, 10)
	}
	return resp, err
}
