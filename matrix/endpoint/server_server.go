package endpoint

// The endpoints of the Server-Server API.
var (

	// SS v1.19 backfill
	FederationBackfillRoom             = Endpoint{"federationBackfillRoom", "GET", Server, []string{"/_matrix/federation/v1/backfill/{roomId}"}}
	FederationGetMissingPreviousEvents = Endpoint{"federationGetMissingPreviousEvents", "POST", Server, []string{"/_matrix/federation/v1/get_missing_events/{roomId}"}}

	// SS v1.19 content_repository
	FederationGetContent          = Endpoint{"federationGetContent", "GET", Server, []string{"/_matrix/federation/v1/media/download/{mediaId}"}}
	FederationGetContentThumbnail = Endpoint{"federationGetContentThumbnail", "GET", Server, []string{"/_matrix/federation/v1/media/thumbnail/{mediaId}"}}

	// SS v1.19 event_auth
	FederationGetEventAuth = Endpoint{"federationGetEventAuth", "GET", Server, []string{"/_matrix/federation/v1/event_auth/{roomId}/{eventId}"}}

	// SS v1.19 events
	FederationGetRoomState        = Endpoint{"federationGetRoomState", "GET", Server, []string{"/_matrix/federation/v1/state/{roomId}"}}
	FederationGetRoomStateIds     = Endpoint{"federationGetRoomStateIds", "GET", Server, []string{"/_matrix/federation/v1/state_ids/{roomId}"}}
	FederationGetEvent            = Endpoint{"federationGetEvent", "GET", Server, []string{"/_matrix/federation/v1/event/{eventId}"}}
	FederationGetEventByTimestamp = Endpoint{"federationGetEventByTimestamp", "GET", Server, []string{"/_matrix/federation/v1/timestamp_to_event/{roomId}"}}

	// SS v1.19 invites-v1
	FederationSendInviteV1 = Endpoint{"federationSendInviteV1", "PUT", Server, []string{"/_matrix/federation/v1/invite/{roomId}/{eventId}"}}

	// SS v1.19 invites-v2
	FederationSendInviteV2 = Endpoint{"federationSendInviteV2", "PUT", Server, []string{"/_matrix/federation/v2/invite/{roomId}/{eventId}"}}

	// SS v1.19 joins-v1
	FederationMakeJoin = Endpoint{"federationMakeJoin", "GET", Server, []string{"/_matrix/federation/v1/make_join/{roomId}/{userId}"}}

	// SS v1.19 joins-v2
	FederationSendJoinV2 = Endpoint{"federationSendJoinV2", "PUT", Server, []string{"/_matrix/federation/v2/send_join/{roomId}/{eventId}"}}

	// SS v1.19 keys_query
	FederationPerspectivesKeyQuery     = Endpoint{"federationPerspectivesKeyQuery", "GET", None, []string{"/_matrix/key/v2/query/{serverName}"}}
	FederationBulkPerspectivesKeyQuery = Endpoint{"federationBulkPerspectivesKeyQuery", "POST", None, []string{"/_matrix/key/v2/query"}}

	// SS v1.19 keys_server
	FederationGetServerKey = Endpoint{"federationGetServerKey", "GET", None, []string{"/_matrix/key/v2/server"}}

	// SS v1.19 knocks
	FederationMakeKnock = Endpoint{"federationMakeKnock", "GET", Server, []string{"/_matrix/federation/v1/make_knock/{roomId}/{userId}"}}
	FederationSendKnock = Endpoint{"federationSendKnock", "PUT", Server, []string{"/_matrix/federation/v1/send_knock/{roomId}/{eventId}"}}

	// SS v1.19 leaving-v1
	FederationMakeLeave = Endpoint{"federationMakeLeave", "GET", Server, []string{"/_matrix/federation/v1/make_leave/{roomId}/{userId}"}}

	// SS v1.19 leaving-v2
	FederationSendLeaveV2 = Endpoint{"federationSendLeaveV2", "PUT", Server, []string{"/_matrix/federation/v2/send_leave/{roomId}/{eventId}"}}

	// SS v1.19 openid
	FederationExchangeOpenIdToken = Endpoint{"federationExchangeOpenIdToken", "GET", None, []string{"/_matrix/federation/v1/openid/userinfo"}}

	// SS v1.19 public_rooms
	FederationGetPublicRooms   = Endpoint{"federationGetPublicRooms", "GET", Server, []string{"/_matrix/federation/v1/publicRooms"}}
	FederationQueryPublicRooms = Endpoint{"federationQueryPublicRooms", "POST", Server, []string{"/_matrix/federation/v1/publicRooms"}}

	// SS v1.19 query
	FederationQueryInfo          = Endpoint{"federationQueryInfo", "GET", Server, []string{"/_matrix/federation/v1/query/{queryType}"}}
	FederationQueryRoomDirectory = Endpoint{"federationQueryRoomDirectory", "GET", Server, []string{"/_matrix/federation/v1/query/directory"}}
	FederationQueryProfile       = Endpoint{"federationQueryProfile", "GET", Server, []string{"/_matrix/federation/v1/query/profile"}}

	// SS v1.19 room_policy
	FederationAskPolicyServerToSign = Endpoint{"federationAskPolicyServerToSign", "POST", Server, []string{"/_matrix/policy/v1/sign"}}

	// SS v1.19 space_hierarchy
	FederationGetSpaceHierarchy = Endpoint{"federationGetSpaceHierarchy", "GET", Server, []string{"/_matrix/federation/v1/hierarchy/{roomId}"}}

	// SS v1.19 third_party_invite
	FederationExchangeThirdPartyInvite   = Endpoint{"federationExchangeThirdPartyInvite", "PUT", Server, []string{"/_matrix/federation/v1/exchange_third_party_invite/{roomId}"}}
	FederationOnBindThirdPartyIdentifier = Endpoint{"federationOnBindThirdPartyIdentifier", "PUT", None, []string{"/_matrix/federation/v1/3pid/onbind"}}

	// SS v1.19 transactions
	FederationSendTransaction = Endpoint{"federationSendTransaction", "PUT", Server, []string{"/_matrix/federation/v1/send/{txnId}"}}

	// SS v1.19 user_devices
	FederationGetUserDevices = Endpoint{"federationGetUserDevices", "GET", Server, []string{"/_matrix/federation/v1/user/devices/{userId}"}}

	// SS v1.19 user_keys
	FederationClaimUserEncryptionKeys = Endpoint{"federationClaimUserEncryptionKeys", "POST", Server, []string{"/_matrix/federation/v1/user/keys/claim"}}
	FederationQueryUserEncryptionKeys = Endpoint{"federationQueryUserEncryptionKeys", "POST", Server, []string{"/_matrix/federation/v1/user/keys/query"}}

	// SS v1.19 version
	FederationGetVersion = Endpoint{"federationGetVersion", "GET", None, []string{"/_matrix/federation/v1/version"}}

	// SS v1.19 wellknown
	FederationGetWellKnown = Endpoint{"federationGetWellKnown", "GET", None, []string{"/.well-known/matrix/server"}}
)

// ServerServer lists them in the order of the specification's files.
func ServerServer() []Endpoint {
	return []Endpoint{
		FederationBackfillRoom,
		FederationGetMissingPreviousEvents,
		FederationGetContent,
		FederationGetContentThumbnail,
		FederationGetEventAuth,
		FederationGetRoomState,
		FederationGetRoomStateIds,
		FederationGetEvent,
		FederationGetEventByTimestamp,
		FederationSendInviteV1,
		FederationSendInviteV2,
		FederationMakeJoin,
		FederationSendJoinV2,
		FederationPerspectivesKeyQuery,
		FederationBulkPerspectivesKeyQuery,
		FederationGetServerKey,
		FederationMakeKnock,
		FederationSendKnock,
		FederationMakeLeave,
		FederationSendLeaveV2,
		FederationExchangeOpenIdToken,
		FederationGetPublicRooms,
		FederationQueryPublicRooms,
		FederationQueryInfo,
		FederationQueryRoomDirectory,
		FederationQueryProfile,
		FederationAskPolicyServerToSign,
		FederationGetSpaceHierarchy,
		FederationExchangeThirdPartyInvite,
		FederationOnBindThirdPartyIdentifier,
		FederationSendTransaction,
		FederationGetUserDevices,
		FederationClaimUserEncryptionKeys,
		FederationQueryUserEncryptionKeys,
		FederationGetVersion,
		FederationGetWellKnown,
	}
}
