package ssapi

import (
	"net/http"
	"slices"
	"time"

	"konsil/kit/web"
	"konsil/matrix/endpoint"
)

// A row says which endpoint is served, by what, and how large its body may be.
type row struct {
	endpoint.Endpoint
	handle handler
	body   int64
}

// Limits of bodies, in bytes.
const (
	noBody    = 4 << 10
	smallBody = 256 << 10 // one event, with room for what is not part of its canonical form
	listBody  = 1 << 20   // lists of IDs, stripped state
	// bigBody takes a full transaction: 50 PDUs and 100 EDUs of 64 KiB each.
	bigBody = 12 << 20
)

// bodyTime is how long a server may take to send a body (B1).
const bodyTime = time.Minute

// Endpoints that newer versions of the specification no longer list, but that servers still ask for.
var (
	sendJoinV1     = endpoint.Endpoint{Name: "sendJoinV1", Method: http.MethodPut, Auth: endpoint.Server, Paths: []string{"/_matrix/federation/v1/send_join/{roomId}/{eventId}"}}
	sendLeaveV1    = endpoint.Endpoint{Name: "sendLeaveV1", Method: http.MethodPut, Auth: endpoint.Server, Paths: []string{"/_matrix/federation/v1/send_leave/{roomId}/{eventId}"}}
	serverKeyByID  = endpoint.Endpoint{Name: "getServerKeyByID", Method: http.MethodGet, Paths: []string{"/_matrix/key/v2/server/{keyId}"}}
	notaryKeyByID  = endpoint.Endpoint{Name: "perspectivesKeyQueryByID", Method: http.MethodGet, Paths: []string{"/_matrix/key/v2/query/{serverName}/{keyId}"}}
	hierarchyDraft = endpoint.Endpoint{Name: "getSpaceHierarchyDraft", Method: http.MethodGet, Auth: endpoint.Server, Paths: []string{"/_matrix/federation/unstable/org.matrix.msc2946/hierarchy/{roomId}"}}
)

// rows lists the Server-Server API in the order of the specification. A row missing here is an endpoint we do not serve: we
// are no policy server, and take no third-party invites.
func (a *API) rows() []row {
	return slices.Concat([]row{
		{endpoint.FederationGetVersion, public(a.version), noBody},
		{endpoint.FederationGetServerKey, public(a.serverKeys), noBody},
		{serverKeyByID, public(a.serverKeys), noBody},
		{endpoint.FederationPerspectivesKeyQuery, public(a.notaryKeys), noBody},
		{notaryKeyByID, public(a.notaryKeys), noBody},
		{endpoint.FederationBulkPerspectivesKeyQuery, public(a.bulkNotaryKeys), smallBody},

		{endpoint.FederationSendTransaction, signed(a.send), bigBody},

		{endpoint.FederationGetEventAuth, signed(a.eventAuth), noBody},
		{endpoint.FederationBackfillRoom, signed(a.backfill), noBody},
		{endpoint.FederationGetMissingPreviousEvents, signed(a.missingEvents), listBody},
		{endpoint.FederationGetRoomState, signed(a.state), noBody},
		{endpoint.FederationGetRoomStateIds, signed(a.stateIDs), noBody},
		{endpoint.FederationGetEvent, signed(a.event), noBody},
		{endpoint.FederationGetEventByTimestamp, signed(a.timestampToEvent), noBody},

		{endpoint.FederationMakeJoin, signed(a.makeJoin), noBody},
		{sendJoinV1, signed(a.sendJoinV1), smallBody},
		{endpoint.FederationSendJoinV2, signed(a.sendJoin), smallBody},
		{endpoint.FederationMakeKnock, signed(a.makeKnock), noBody},
		{endpoint.FederationSendKnock, signed(a.sendKnock), smallBody},
		{endpoint.FederationSendInviteV1, signed(a.inviteV1), listBody},
		{endpoint.FederationSendInviteV2, signed(a.invite), listBody},
		{endpoint.FederationMakeLeave, signed(a.makeLeave), noBody},
		{sendLeaveV1, signed(a.sendLeaveV1), smallBody},
		{endpoint.FederationSendLeaveV2, signed(a.sendLeave), smallBody},
	}, []row{
		{endpoint.FederationGetPublicRooms, signed(a.publicRooms), noBody},
		{endpoint.FederationQueryPublicRooms, signed(a.searchPublicRooms), smallBody},
		{endpoint.FederationGetSpaceHierarchy, signed(a.hierarchy), noBody},
		{hierarchyDraft, signed(a.hierarchy), noBody},
		{endpoint.FederationQueryRoomDirectory, signed(a.directory), noBody},
		{endpoint.FederationQueryProfile, signed(a.profile), noBody},
		{endpoint.FederationExchangeOpenIdToken, public(a.userInfo), noBody},
		{endpoint.FederationGetUserDevices, signed(a.userDevices), noBody},
		{endpoint.FederationClaimUserEncryptionKeys, signed(a.claimKeys), listBody},
		{endpoint.FederationQueryUserEncryptionKeys, signed(a.queryKeys), listBody},
		{endpoint.FederationGetContent, signed(a.download), noBody},
		{endpoint.FederationGetContentThumbnail, signed(a.thumbnail), noBody},
	})
}

// Routes lists what the mux has to serve.
func (a *API) Routes() []web.Route {
	var routes []web.Route
	for _, rw := range a.rows() {
		serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { rw.handle(a, rw, w, r) })
		for _, path := range rw.Paths {
			routes = append(routes, web.Route{Method: rw.Method, Path: path, Handler: serve})
		}
	}
	return routes
}
