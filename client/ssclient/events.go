package ssclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"konsil/matrix/id"
)

// TransactionResult says per PDU what the receiver made of it; an empty error is success.
type TransactionResult struct {
	PDUs map[id.EventID]PDUResult `json:"pdus"`
}

// PDUResult is one PDU's.
type PDUResult struct {
	Error string `json:"error,omitempty"`
}

// SendTransaction delivers a transaction, ready as JSON. The same id must be used for each try of the same body.
// SS v1.16 #put_matrixfederationv1sendtxnid
func (c *Client) SendTransaction(ctx context.Context, server id.ServerName, txnID string, body []byte) (TransactionResult, error) {
	var answer struct {
		PDUs map[string]PDUResult `json:"pdus"`
	}
	err := c.call(ctx, server, call{kind: transaction, method: http.MethodPut, body: body, path: path(federationV1, "send", txnID)}, &answer)
	if err != nil {
		return TransactionResult{}, err
	}
	result := TransactionResult{PDUs: make(map[id.EventID]PDUResult, len(answer.PDUs))}
	for event, r := range answer.PDUs {
		result.PDUs[id.EventID(event)] = r
	}
	return result, nil
}

// events reads one streamed list of events from an answer, at most limit of them; the others are dropped unread.
func (c *Client) events(ctx context.Context, server id.ServerName, call call, field string, limit int) ([]json.RawMessage, error) {
	lists, err := c.eventLists(ctx, server, call, limit, field)
	if err != nil {
		return nil, err
	}
	return lists[0], nil
}

// eventLists is events for answers with several lists.
func (c *Client) eventLists(ctx context.Context, server id.ServerName, call call, limit int, fields ...string) ([][]json.RawMessage, error) {
	resp, err := c.send(ctx, server, call)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	s := newJSONStream(resp.Body)
	lists := make([][]json.RawMessage, len(fields))
	for {
		key, ok, err := s.field()
		if err != nil {
			return nil, streamFailed(server, err)
		}
		if !ok {
			return lists, nil
		}
		at := -1
		for i, f := range fields {
			if f == key {
				at = i
			}
		}
		if at < 0 {
			err = s.skip()
		} else {
			err = s.elements(func(raw []byte) error {
				if len(lists[at]) < limit {
					lists[at] = append(lists[at], append(json.RawMessage(nil), raw...))
				}
				return nil
			})
		}
		if err != nil {
			return nil, streamFailed(server, err)
		}
	}
}

// Backfill asks for up to limit events of a room, from the given ones backwards. SS v1.16 #get_matrixfederationv1backfillroomid
func (c *Client) Backfill(ctx context.Context, server id.ServerName, room id.RoomID, from []id.EventID, limit int) ([]json.RawMessage, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for _, ev := range from {
		query.Add("v", string(ev))
	}
	return c.events(ctx, server, call{kind: history, method: http.MethodGet, path: withQuery(path(federationV1, "backfill", string(room)), query)}, "pdus", limit)
}

// MissingEvents asks for the events between those we have (earliest) and those we got (latest).
// SS v1.16 #post_matrixfederationv1get_missing_eventsroomid
type MissingEvents struct {
	Limit    int          `json:"limit"`
	MinDepth int64        `json:"min_depth"`
	Earliest []id.EventID `json:"earliest_events"`
	Latest   []id.EventID `json:"latest_events"`
}

// GetMissingEvents asks for missing events, oldest first as the server sorts them.
func (c *Client) GetMissingEvents(ctx context.Context, server id.ServerName, room id.RoomID, req MissingEvents) ([]json.RawMessage, error) {
	if req.Earliest == nil {
		req.Earliest = []id.EventID{}
	}
	return c.events(ctx, server, call{kind: history, method: http.MethodPost, body: req, path: path(federationV1, "get_missing_events", string(room))}, "events", req.Limit)
}

// State asks for the state before an event, and its auth chain; at most limit events of each.
func (c *Client) State(ctx context.Context, server id.ServerName, room id.RoomID, at id.EventID, limit int) (state, authChain []json.RawMessage, err error) {
	lists, err := c.eventLists(ctx, server, call{kind: largeState, method: http.MethodGet,
		path: withQuery(path(federationV1, "state", string(room)), url.Values{"event_id": {string(at)}})}, limit, "pdus", "auth_chain")
	if err != nil {
		return nil, nil, err
	}
	return lists[0], lists[1], nil
}

// StateIDs is State with IDs only.
func (c *Client) StateIDs(ctx context.Context, server id.ServerName, room id.RoomID, at id.EventID) (state, authChain []id.EventID, err error) {
	var answer struct {
		State     []id.EventID `json:"pdu_ids"`
		AuthChain []id.EventID `json:"auth_chain_ids"`
	}
	err = c.call(ctx, server, call{kind: history, method: http.MethodGet,
		path: withQuery(path(federationV1, "state_ids", string(room)), url.Values{"event_id": {string(at)}})}, &answer)
	return answer.State, answer.AuthChain, err
}

// EventAuth asks for the auth chain of an event.
func (c *Client) EventAuth(ctx context.Context, server id.ServerName, room id.RoomID, event id.EventID, limit int) ([]json.RawMessage, error) {
	return c.events(ctx, server, call{kind: history, method: http.MethodGet, path: path(federationV1, "event_auth", string(room), string(event))}, "auth_chain", limit)
}

// Event asks for one event.
func (c *Client) Event(ctx context.Context, server id.ServerName, event id.EventID) (json.RawMessage, error) {
	pdus, err := c.events(ctx, server, call{kind: query, method: http.MethodGet, path: path(federationV1, "event", string(event))}, "pdus", 1)
	if err != nil {
		return nil, err
	}
	if len(pdus) == 0 {
		return nil, malformed(server, "event answer without event")
	}
	return pdus[0], nil
}

// TimestampToEvent asks for the event closest to a time; dir is "f" or "b".
func (c *Client) TimestampToEvent(ctx context.Context, server id.ServerName, room id.RoomID, ts int64, dir string) (id.EventID, int64, error) {
	var answer struct {
		Event id.EventID `json:"event_id"`
		TS    int64      `json:"origin_server_ts"`
	}
	err := c.call(ctx, server, call{kind: quick, method: http.MethodGet,
		path: withQuery(path(federationV1, "timestamp_to_event", string(room)), url.Values{"ts": {strconv.FormatInt(ts, 10)}, "dir": {dir}})}, &answer)
	if err == nil && answer.Event == "" {
		err = malformed(server, "no event_id")
	}
	return answer.Event, answer.TS, err
}
