package endpoint

// The endpoints of the Client-Server API, one row each, grouped by the specification's API files.
var (

	// CS v1.19 account-data
	SetAccountData        = Endpoint{"setAccountData", "PUT", Token, []string{"/_matrix/client/v3/user/{userId}/account_data/{type}", "/_matrix/client/r0/user/{userId}/account_data/{type}"}}
	GetAccountData        = Endpoint{"getAccountData", "GET", Token, []string{"/_matrix/client/v3/user/{userId}/account_data/{type}", "/_matrix/client/r0/user/{userId}/account_data/{type}"}}
	SetAccountDataPerRoom = Endpoint{"setAccountDataPerRoom", "PUT", Token, []string{"/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", "/_matrix/client/r0/user/{userId}/rooms/{roomId}/account_data/{type}"}}
	GetAccountDataPerRoom = Endpoint{"getAccountDataPerRoom", "GET", Token, []string{"/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", "/_matrix/client/r0/user/{userId}/rooms/{roomId}/account_data/{type}"}}

	// CS v1.19 account_deactivation
	DeactivateAccount = Endpoint{"deactivateAccount", "POST", Optional, []string{"/_matrix/client/v3/account/deactivate", "/_matrix/client/r0/account/deactivate"}}

	// CS v1.19 admin
	GetWhoIs            = Endpoint{"getWhoIs", "GET", Token, []string{"/_matrix/client/v3/admin/whois/{userId}", "/_matrix/client/r0/admin/whois/{userId}"}}
	GetAdminSuspendUser = Endpoint{"getAdminSuspendUser", "GET", Token, []string{"/_matrix/client/v1/admin/suspend/{userId}"}}
	SetAdminSuspendUser = Endpoint{"setAdminSuspendUser", "PUT", Token, []string{"/_matrix/client/v1/admin/suspend/{userId}"}}
	GetAdminLockUser    = Endpoint{"getAdminLockUser", "GET", Token, []string{"/_matrix/client/v1/admin/lock/{userId}"}}
	SetAdminLockUser    = Endpoint{"setAdminLockUser", "PUT", Token, []string{"/_matrix/client/v1/admin/lock/{userId}"}}

	// CS v1.19 administrative_contact
	GetAccount3PIDs          = Endpoint{"getAccount3PIDs", "GET", Token, []string{"/_matrix/client/v3/account/3pid", "/_matrix/client/r0/account/3pid"}}
	Post3PIDs                = Endpoint{"post3PIDs", "POST", Token, []string{"/_matrix/client/v3/account/3pid", "/_matrix/client/r0/account/3pid"}}
	Add3PID                  = Endpoint{"add3PID", "POST", Token, []string{"/_matrix/client/v3/account/3pid/add", "/_matrix/client/r0/account/3pid/add"}}
	Bind3PID                 = Endpoint{"bind3PID", "POST", Token, []string{"/_matrix/client/v3/account/3pid/bind", "/_matrix/client/r0/account/3pid/bind"}}
	Delete3pidFromAccount    = Endpoint{"delete3pidFromAccount", "POST", Token, []string{"/_matrix/client/v3/account/3pid/delete", "/_matrix/client/r0/account/3pid/delete"}}
	Unbind3pidFromAccount    = Endpoint{"unbind3pidFromAccount", "POST", Token, []string{"/_matrix/client/v3/account/3pid/unbind", "/_matrix/client/r0/account/3pid/unbind"}}
	RequestTokenTo3PIDEmail  = Endpoint{"requestTokenTo3PIDEmail", "POST", None, []string{"/_matrix/client/v3/account/3pid/email/requestToken", "/_matrix/client/r0/account/3pid/email/requestToken"}}
	RequestTokenTo3PIDMSISDN = Endpoint{"requestTokenTo3PIDMSISDN", "POST", None, []string{"/_matrix/client/v3/account/3pid/msisdn/requestToken", "/_matrix/client/r0/account/3pid/msisdn/requestToken"}}

	// CS v1.19 appservice_ping
	PingAppservice = Endpoint{"pingAppservice", "POST", AppService, []string{"/_matrix/client/v1/appservice/{appserviceId}/ping"}}

	// CS v1.19 appservice_room_directory
	UpdateAppserviceRoomDirectoryVisibility = Endpoint{"updateAppserviceRoomDirectoryVisibility", "PUT", AppService, []string{"/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", "/_matrix/client/r0/directory/list/appservice/{networkId}/{roomId}"}}

	// CS v1.19 authed-content-repo
	GetContentAuthed             = Endpoint{"getContentAuthed", "GET", Token, []string{"/_matrix/client/v1/media/download/{serverName}/{mediaId}"}}
	GetContentOverrideNameAuthed = Endpoint{"getContentOverrideNameAuthed", "GET", Token, []string{"/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}"}}
	GetContentThumbnailAuthed    = Endpoint{"getContentThumbnailAuthed", "GET", Token, []string{"/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}"}}
	GetUrlPreviewAuthed          = Endpoint{"getUrlPreviewAuthed", "GET", Token, []string{"/_matrix/client/v1/media/preview_url"}}
	GetConfigAuthed              = Endpoint{"getConfigAuthed", "GET", Token, []string{"/_matrix/client/v1/media/config"}}

	// CS v1.19 banning
	Ban   = Endpoint{"ban", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/ban", "/_matrix/client/r0/rooms/{roomId}/ban"}}
	Unban = Endpoint{"unban", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/unban", "/_matrix/client/r0/rooms/{roomId}/unban"}}

	// CS v1.19 capabilities
	GetCapabilities = Endpoint{"getCapabilities", "GET", Token, []string{"/_matrix/client/v3/capabilities", "/_matrix/client/r0/capabilities"}}

	// CS v1.19 content-repo
	UploadContent          = Endpoint{"uploadContent", "POST", Token, []string{"/_matrix/media/v3/upload", "/_matrix/media/r0/upload", "/_matrix/media/v1/upload"}}
	UploadContentToMXC     = Endpoint{"uploadContentToMXC", "PUT", Token, []string{"/_matrix/media/v3/upload/{serverName}/{mediaId}", "/_matrix/media/r0/upload/{serverName}/{mediaId}", "/_matrix/media/v1/upload/{serverName}/{mediaId}"}}
	CreateContent          = Endpoint{"createContent", "POST", Token, []string{"/_matrix/media/v1/create"}}
	GetContent             = Endpoint{"getContent", "GET", None, []string{"/_matrix/media/v3/download/{serverName}/{mediaId}", "/_matrix/media/r0/download/{serverName}/{mediaId}", "/_matrix/media/v1/download/{serverName}/{mediaId}"}}
	GetContentOverrideName = Endpoint{"getContentOverrideName", "GET", None, []string{"/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}", "/_matrix/media/r0/download/{serverName}/{mediaId}/{fileName}", "/_matrix/media/v1/download/{serverName}/{mediaId}/{fileName}"}}
	GetContentThumbnail    = Endpoint{"getContentThumbnail", "GET", None, []string{"/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", "/_matrix/media/r0/thumbnail/{serverName}/{mediaId}", "/_matrix/media/v1/thumbnail/{serverName}/{mediaId}"}}
	GetUrlPreview          = Endpoint{"getUrlPreview", "GET", Token, []string{"/_matrix/media/v3/preview_url", "/_matrix/media/r0/preview_url", "/_matrix/media/v1/preview_url"}}
	GetConfig              = Endpoint{"getConfig", "GET", Token, []string{"/_matrix/media/v3/config", "/_matrix/media/r0/config", "/_matrix/media/v1/config"}}

	// CS v1.19 create_room
	CreateRoom = Endpoint{"createRoom", "POST", Token, []string{"/_matrix/client/v3/createRoom", "/_matrix/client/r0/createRoom"}}

	// CS v1.19 cross_signing
	UploadCrossSigningKeys       = Endpoint{"uploadCrossSigningKeys", "POST", Token, []string{"/_matrix/client/v3/keys/device_signing/upload", "/_matrix/client/r0/keys/device_signing/upload"}}
	UploadCrossSigningSignatures = Endpoint{"uploadCrossSigningSignatures", "POST", Token, []string{"/_matrix/client/v3/keys/signatures/upload", "/_matrix/client/r0/keys/signatures/upload"}}

	// CS v1.19 device_management
	GetDevices    = Endpoint{"getDevices", "GET", Token, []string{"/_matrix/client/v3/devices", "/_matrix/client/r0/devices"}}
	GetDevice     = Endpoint{"getDevice", "GET", Token, []string{"/_matrix/client/v3/devices/{deviceId}", "/_matrix/client/r0/devices/{deviceId}"}}
	UpdateDevice  = Endpoint{"updateDevice", "PUT", Token, []string{"/_matrix/client/v3/devices/{deviceId}", "/_matrix/client/r0/devices/{deviceId}"}}
	DeleteDevice  = Endpoint{"deleteDevice", "DELETE", Token, []string{"/_matrix/client/v3/devices/{deviceId}", "/_matrix/client/r0/devices/{deviceId}"}}
	DeleteDevices = Endpoint{"deleteDevices", "POST", Token, []string{"/_matrix/client/v3/delete_devices", "/_matrix/client/r0/delete_devices"}}

	// CS v1.19 directory
	SetRoomAlias     = Endpoint{"setRoomAlias", "PUT", Token, []string{"/_matrix/client/v3/directory/room/{roomAlias}", "/_matrix/client/r0/directory/room/{roomAlias}"}}
	GetRoomIdByAlias = Endpoint{"getRoomIdByAlias", "GET", None, []string{"/_matrix/client/v3/directory/room/{roomAlias}", "/_matrix/client/r0/directory/room/{roomAlias}"}}
	DeleteRoomAlias  = Endpoint{"deleteRoomAlias", "DELETE", Token, []string{"/_matrix/client/v3/directory/room/{roomAlias}", "/_matrix/client/r0/directory/room/{roomAlias}"}}
	GetLocalAliases  = Endpoint{"getLocalAliases", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/aliases", "/_matrix/client/r0/rooms/{roomId}/aliases"}}

	// CS v1.19 event_context
	GetEventContext = Endpoint{"getEventContext", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/context/{eventId}", "/_matrix/client/r0/rooms/{roomId}/context/{eventId}"}}

	// CS v1.19 filter
	DefineFilter = Endpoint{"defineFilter", "POST", Token, []string{"/_matrix/client/v3/user/{userId}/filter", "/_matrix/client/r0/user/{userId}/filter"}}
	GetFilter    = Endpoint{"getFilter", "GET", Token, []string{"/_matrix/client/v3/user/{userId}/filter/{filterId}", "/_matrix/client/r0/user/{userId}/filter/{filterId}"}}

	// CS v1.19 inviting
	InviteUser = Endpoint{"inviteUser", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/invite", "/_matrix/client/r0/rooms/{roomId}/invite"}}

	// CS v1.19 joining
	JoinRoomById = Endpoint{"joinRoomById", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/join", "/_matrix/client/r0/rooms/{roomId}/join"}}
	JoinRoom     = Endpoint{"joinRoom", "POST", Token, []string{"/_matrix/client/v3/join/{roomIdOrAlias}", "/_matrix/client/r0/join/{roomIdOrAlias}"}}

	// CS v1.19 key_backup
	PostRoomKeysVersion       = Endpoint{"postRoomKeysVersion", "POST", Token, []string{"/_matrix/client/v3/room_keys/version", "/_matrix/client/r0/room_keys/version"}}
	GetRoomKeysVersionCurrent = Endpoint{"getRoomKeysVersionCurrent", "GET", Token, []string{"/_matrix/client/v3/room_keys/version", "/_matrix/client/r0/room_keys/version"}}
	GetRoomKeysVersion        = Endpoint{"getRoomKeysVersion", "GET", Token, []string{"/_matrix/client/v3/room_keys/version/{version}", "/_matrix/client/r0/room_keys/version/{version}"}}
	PutRoomKeysVersion        = Endpoint{"putRoomKeysVersion", "PUT", Token, []string{"/_matrix/client/v3/room_keys/version/{version}", "/_matrix/client/r0/room_keys/version/{version}"}}
	DeleteRoomKeysVersion     = Endpoint{"deleteRoomKeysVersion", "DELETE", Token, []string{"/_matrix/client/v3/room_keys/version/{version}", "/_matrix/client/r0/room_keys/version/{version}"}}
	PutRoomKeyBySessionId     = Endpoint{"putRoomKeyBySessionId", "PUT", Token, []string{"/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", "/_matrix/client/r0/room_keys/keys/{roomId}/{sessionId}"}}
	GetRoomKeyBySessionId     = Endpoint{"getRoomKeyBySessionId", "GET", Token, []string{"/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", "/_matrix/client/r0/room_keys/keys/{roomId}/{sessionId}"}}
	DeleteRoomKeyBySessionId  = Endpoint{"deleteRoomKeyBySessionId", "DELETE", Token, []string{"/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", "/_matrix/client/r0/room_keys/keys/{roomId}/{sessionId}"}}
	PutRoomKeysByRoomId       = Endpoint{"putRoomKeysByRoomId", "PUT", Token, []string{"/_matrix/client/v3/room_keys/keys/{roomId}", "/_matrix/client/r0/room_keys/keys/{roomId}"}}
	GetRoomKeysByRoomId       = Endpoint{"getRoomKeysByRoomId", "GET", Token, []string{"/_matrix/client/v3/room_keys/keys/{roomId}", "/_matrix/client/r0/room_keys/keys/{roomId}"}}
	DeleteRoomKeysByRoomId    = Endpoint{"deleteRoomKeysByRoomId", "DELETE", Token, []string{"/_matrix/client/v3/room_keys/keys/{roomId}", "/_matrix/client/r0/room_keys/keys/{roomId}"}}
	PutRoomKeys               = Endpoint{"putRoomKeys", "PUT", Token, []string{"/_matrix/client/v3/room_keys/keys", "/_matrix/client/r0/room_keys/keys"}}
	GetRoomKeys               = Endpoint{"getRoomKeys", "GET", Token, []string{"/_matrix/client/v3/room_keys/keys", "/_matrix/client/r0/room_keys/keys"}}
	DeleteRoomKeys            = Endpoint{"deleteRoomKeys", "DELETE", Token, []string{"/_matrix/client/v3/room_keys/keys", "/_matrix/client/r0/room_keys/keys"}}

	// CS v1.19 keys
	UploadKeys     = Endpoint{"uploadKeys", "POST", Token, []string{"/_matrix/client/v3/keys/upload", "/_matrix/client/r0/keys/upload"}}
	QueryKeys      = Endpoint{"queryKeys", "POST", Token, []string{"/_matrix/client/v3/keys/query", "/_matrix/client/r0/keys/query"}}
	ClaimKeys      = Endpoint{"claimKeys", "POST", Token, []string{"/_matrix/client/v3/keys/claim", "/_matrix/client/r0/keys/claim"}}
	GetKeysChanges = Endpoint{"getKeysChanges", "GET", Token, []string{"/_matrix/client/v3/keys/changes", "/_matrix/client/r0/keys/changes"}}

	// CS v1.19 kicking
	Kick = Endpoint{"kick", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/kick", "/_matrix/client/r0/rooms/{roomId}/kick"}}

	// CS v1.19 knocking
	KnockRoom = Endpoint{"knockRoom", "POST", Token, []string{"/_matrix/client/v3/knock/{roomIdOrAlias}", "/_matrix/client/r0/knock/{roomIdOrAlias}"}}

	// CS v1.19 leaving
	LeaveRoom  = Endpoint{"leaveRoom", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/leave", "/_matrix/client/r0/rooms/{roomId}/leave"}}
	ForgetRoom = Endpoint{"forgetRoom", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/forget", "/_matrix/client/r0/rooms/{roomId}/forget"}}

	// CS v1.19 list_joined_rooms
	GetJoinedRooms = Endpoint{"getJoinedRooms", "GET", Token, []string{"/_matrix/client/v3/joined_rooms", "/_matrix/client/r0/joined_rooms"}}

	// CS v1.19 list_public_rooms
	GetRoomVisibilityOnDirectory = Endpoint{"getRoomVisibilityOnDirectory", "GET", None, []string{"/_matrix/client/v3/directory/list/room/{roomId}", "/_matrix/client/r0/directory/list/room/{roomId}"}}
	SetRoomVisibilityOnDirectory = Endpoint{"setRoomVisibilityOnDirectory", "PUT", Token, []string{"/_matrix/client/v3/directory/list/room/{roomId}", "/_matrix/client/r0/directory/list/room/{roomId}"}}
	GetPublicRooms               = Endpoint{"getPublicRooms", "GET", None, []string{"/_matrix/client/v3/publicRooms", "/_matrix/client/r0/publicRooms"}}
	QueryPublicRooms             = Endpoint{"queryPublicRooms", "POST", Token, []string{"/_matrix/client/v3/publicRooms", "/_matrix/client/r0/publicRooms"}}

	// CS v1.19 login
	GetLoginFlows = Endpoint{"getLoginFlows", "GET", None, []string{"/_matrix/client/v3/login", "/_matrix/client/r0/login"}}
	Login         = Endpoint{"login", "POST", None, []string{"/_matrix/client/v3/login", "/_matrix/client/r0/login"}}

	// CS v1.19 login_token
	GenerateLoginToken = Endpoint{"generateLoginToken", "POST", Token, []string{"/_matrix/client/v1/login/get_token"}}

	// CS v1.19 logout
	Logout     = Endpoint{"logout", "POST", Token, []string{"/_matrix/client/v3/logout", "/_matrix/client/r0/logout"}}
	Logout_all = Endpoint{"logout_all", "POST", Token, []string{"/_matrix/client/v3/logout/all", "/_matrix/client/r0/logout/all"}}

	// CS v1.19 message_pagination
	GetRoomEvents = Endpoint{"getRoomEvents", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/messages", "/_matrix/client/r0/rooms/{roomId}/messages"}}

	// CS v1.19 mutual_rooms
	GetMutualRooms = Endpoint{"getMutualRooms", "GET", Token, []string{"/_matrix/client/v1/mutual_rooms"}}

	// CS v1.19 notifications
	GetNotifications = Endpoint{"getNotifications", "GET", Token, []string{"/_matrix/client/v3/notifications", "/_matrix/client/r0/notifications"}}

	// CS v1.19 oauth_server_metadata
	GetAuthMetadata = Endpoint{"getAuthMetadata", "GET", None, []string{"/_matrix/client/v1/auth_metadata"}}

	// CS v1.19 old_sync
	GetEvents   = Endpoint{"getEvents", "GET", Token, []string{"/_matrix/client/v3/events", "/_matrix/client/r0/events"}}
	InitialSync = Endpoint{"initialSync", "GET", Token, []string{"/_matrix/client/v3/initialSync", "/_matrix/client/r0/initialSync"}}
	GetOneEvent = Endpoint{"getOneEvent", "GET", Token, []string{"/_matrix/client/v3/events/{eventId}", "/_matrix/client/r0/events/{eventId}"}}

	// CS v1.19 openid
	RequestOpenIdToken = Endpoint{"requestOpenIdToken", "POST", Token, []string{"/_matrix/client/v3/user/{userId}/openid/request_token", "/_matrix/client/r0/user/{userId}/openid/request_token"}}

	// CS v1.19 password_management
	ChangePassword                    = Endpoint{"changePassword", "POST", Optional, []string{"/_matrix/client/v3/account/password", "/_matrix/client/r0/account/password"}}
	RequestTokenToResetPasswordEmail  = Endpoint{"requestTokenToResetPasswordEmail", "POST", None, []string{"/_matrix/client/v3/account/password/email/requestToken", "/_matrix/client/r0/account/password/email/requestToken"}}
	RequestTokenToResetPasswordMSISDN = Endpoint{"requestTokenToResetPasswordMSISDN", "POST", None, []string{"/_matrix/client/v3/account/password/msisdn/requestToken", "/_matrix/client/r0/account/password/msisdn/requestToken"}}

	// CS v1.19 peeking_events
	PeekEvents = Endpoint{"peekEvents", "GET", Token, []string{"/_matrix/client/v3/events", "/_matrix/client/r0/events"}}

	// CS v1.19 policy_server
	GetWellknownPolicy = Endpoint{"getWellknownPolicy", "GET", None, []string{"/.well-known/matrix/policy_server"}}

	// CS v1.19 presence
	SetPresence = Endpoint{"setPresence", "PUT", Token, []string{"/_matrix/client/v3/presence/{userId}/status", "/_matrix/client/r0/presence/{userId}/status"}}
	GetPresence = Endpoint{"getPresence", "GET", Token, []string{"/_matrix/client/v3/presence/{userId}/status", "/_matrix/client/r0/presence/{userId}/status"}}

	// CS v1.19 profile
	SetProfileField    = Endpoint{"setProfileField", "PUT", Token, []string{"/_matrix/client/v3/profile/{userId}/{keyName}", "/_matrix/client/r0/profile/{userId}/{keyName}"}}
	GetProfileField    = Endpoint{"getProfileField", "GET", None, []string{"/_matrix/client/v3/profile/{userId}/{keyName}", "/_matrix/client/r0/profile/{userId}/{keyName}"}}
	DeleteProfileField = Endpoint{"deleteProfileField", "DELETE", Token, []string{"/_matrix/client/v3/profile/{userId}/{keyName}", "/_matrix/client/r0/profile/{userId}/{keyName}"}}
	GetUserProfile     = Endpoint{"getUserProfile", "GET", None, []string{"/_matrix/client/v3/profile/{userId}", "/_matrix/client/r0/profile/{userId}"}}

	// CS v1.19 pusher
	GetPushers = Endpoint{"getPushers", "GET", Token, []string{"/_matrix/client/v3/pushers", "/_matrix/client/r0/pushers"}}
	PostPusher = Endpoint{"postPusher", "POST", Token, []string{"/_matrix/client/v3/pushers/set", "/_matrix/client/r0/pushers/set"}}

	// CS v1.19 pushrules
	GetPushRules       = Endpoint{"getPushRules", "GET", Token, []string{"/_matrix/client/v3/pushrules/", "/_matrix/client/r0/pushrules/"}}
	GetPushRulesGlobal = Endpoint{"getPushRulesGlobal", "GET", Token, []string{"/_matrix/client/v3/pushrules/global/", "/_matrix/client/r0/pushrules/global/"}}
	GetPushRule        = Endpoint{"getPushRule", "GET", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}"}}
	DeletePushRule     = Endpoint{"deletePushRule", "DELETE", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}"}}
	SetPushRule        = Endpoint{"setPushRule", "PUT", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}"}}
	IsPushRuleEnabled  = Endpoint{"isPushRuleEnabled", "GET", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}/enabled"}}
	SetPushRuleEnabled = Endpoint{"setPushRuleEnabled", "PUT", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}/enabled"}}
	GetPushRuleActions = Endpoint{"getPushRuleActions", "GET", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}/actions"}}
	SetPushRuleActions = Endpoint{"setPushRuleActions", "PUT", Token, []string{"/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", "/_matrix/client/r0/pushrules/global/{kind}/{ruleId}/actions"}}

	// CS v1.19 read_markers
	SetReadMarker = Endpoint{"setReadMarker", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/read_markers", "/_matrix/client/r0/rooms/{roomId}/read_markers"}}

	// CS v1.19 receipts
	PostReceipt = Endpoint{"postReceipt", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", "/_matrix/client/r0/rooms/{roomId}/receipt/{receiptType}/{eventId}"}}

	// CS v1.19 redaction
	RedactEvent = Endpoint{"redactEvent", "PUT", Token, []string{"/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", "/_matrix/client/r0/rooms/{roomId}/redact/{eventId}/{txnId}"}}

	// CS v1.19 refresh
	Refresh = Endpoint{"refresh", "POST", None, []string{"/_matrix/client/v3/refresh", "/_matrix/client/r0/refresh"}}

	// CS v1.19 registration
	Register                     = Endpoint{"register", "POST", None, []string{"/_matrix/client/v3/register", "/_matrix/client/r0/register"}}
	RequestTokenToRegisterEmail  = Endpoint{"requestTokenToRegisterEmail", "POST", None, []string{"/_matrix/client/v3/register/email/requestToken", "/_matrix/client/r0/register/email/requestToken"}}
	RequestTokenToRegisterMSISDN = Endpoint{"requestTokenToRegisterMSISDN", "POST", None, []string{"/_matrix/client/v3/register/msisdn/requestToken", "/_matrix/client/r0/register/msisdn/requestToken"}}
	CheckUsernameAvailability    = Endpoint{"checkUsernameAvailability", "GET", None, []string{"/_matrix/client/v3/register/available", "/_matrix/client/r0/register/available"}}

	// CS v1.19 registration_tokens
	RegistrationTokenValidity = Endpoint{"registrationTokenValidity", "GET", None, []string{"/_matrix/client/v1/register/m.login.registration_token/validity"}}

	// CS v1.19 relations
	GetRelatingEvents                        = Endpoint{"getRelatingEvents", "GET", Token, []string{"/_matrix/client/v1/rooms/{roomId}/relations/{eventId}"}}
	GetRelatingEventsWithRelType             = Endpoint{"getRelatingEventsWithRelType", "GET", Token, []string{"/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}"}}
	GetRelatingEventsWithRelTypeAndEventType = Endpoint{"getRelatingEventsWithRelTypeAndEventType", "GET", Token, []string{"/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}"}}

	// CS v1.19 report_content
	ReportRoom  = Endpoint{"reportRoom", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/report", "/_matrix/client/r0/rooms/{roomId}/report"}}
	ReportEvent = Endpoint{"reportEvent", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/report/{eventId}", "/_matrix/client/r0/rooms/{roomId}/report/{eventId}"}}
	ReportUser  = Endpoint{"reportUser", "POST", Token, []string{"/_matrix/client/v3/users/{userId}/report", "/_matrix/client/r0/users/{userId}/report"}}

	// CS v1.19 room_event_by_timestamp
	GetEventByTimestamp = Endpoint{"getEventByTimestamp", "GET", Token, []string{"/_matrix/client/v1/rooms/{roomId}/timestamp_to_event"}}

	// CS v1.19 room_initial_sync
	RoomInitialSync = Endpoint{"roomInitialSync", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/initialSync", "/_matrix/client/r0/rooms/{roomId}/initialSync"}}

	// CS v1.19 room_send
	SendMessage = Endpoint{"sendMessage", "PUT", Token, []string{"/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", "/_matrix/client/r0/rooms/{roomId}/send/{eventType}/{txnId}"}}

	// CS v1.19 room_state
	SetRoomStateWithKey = Endpoint{"setRoomStateWithKey", "PUT", Token, []string{"/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/{stateKey}", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/"}}

	// CS v1.19 room_summary
	GetRoomSummary = Endpoint{"getRoomSummary", "GET", Optional, []string{"/_matrix/client/v1/room_summary/{roomIdOrAlias}", "/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}", "/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary"}}

	// CS v1.19 room_upgrades
	UpgradeRoom = Endpoint{"upgradeRoom", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/upgrade", "/_matrix/client/r0/rooms/{roomId}/upgrade"}}

	// CS v1.19 rooms
	GetOneRoomEvent        = Endpoint{"getOneRoomEvent", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/event/{eventId}", "/_matrix/client/r0/rooms/{roomId}/event/{eventId}"}}
	GetRoomStateWithKey    = Endpoint{"getRoomStateWithKey", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/{stateKey}", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}", "/_matrix/client/r0/rooms/{roomId}/state/{eventType}/"}}
	GetRoomState           = Endpoint{"getRoomState", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/state", "/_matrix/client/r0/rooms/{roomId}/state"}}
	GetMembersByRoom       = Endpoint{"getMembersByRoom", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/members", "/_matrix/client/r0/rooms/{roomId}/members"}}
	GetJoinedMembersByRoom = Endpoint{"getJoinedMembersByRoom", "GET", Token, []string{"/_matrix/client/v3/rooms/{roomId}/joined_members", "/_matrix/client/r0/rooms/{roomId}/joined_members"}}

	// CS v1.19 search
	Search = Endpoint{"search", "POST", Token, []string{"/_matrix/client/v3/search", "/_matrix/client/r0/search"}}

	// CS v1.19 space_hierarchy
	GetSpaceHierarchy = Endpoint{"getSpaceHierarchy", "GET", Token, []string{"/_matrix/client/v1/rooms/{roomId}/hierarchy"}}

	// CS v1.19 sso_login_redirect
	RedirectToSSO = Endpoint{"redirectToSSO", "GET", None, []string{"/_matrix/client/v3/login/sso/redirect", "/_matrix/client/r0/login/sso/redirect"}}
	RedirectToIdP = Endpoint{"redirectToIdP", "GET", None, []string{"/_matrix/client/v3/login/sso/redirect/{idpId}", "/_matrix/client/r0/login/sso/redirect/{idpId}"}}

	// CS v1.19 support
	GetWellknownSupport = Endpoint{"getWellknownSupport", "GET", None, []string{"/.well-known/matrix/support"}}

	// CS v1.19 sync
	Sync = Endpoint{"sync", "GET", Token, []string{"/_matrix/client/v3/sync", "/_matrix/client/r0/sync"}}

	// CS v1.19 tags
	GetRoomTags   = Endpoint{"getRoomTags", "GET", Token, []string{"/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", "/_matrix/client/r0/user/{userId}/rooms/{roomId}/tags"}}
	SetRoomTag    = Endpoint{"setRoomTag", "PUT", Token, []string{"/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", "/_matrix/client/r0/user/{userId}/rooms/{roomId}/tags/{tag}"}}
	DeleteRoomTag = Endpoint{"deleteRoomTag", "DELETE", Token, []string{"/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", "/_matrix/client/r0/user/{userId}/rooms/{roomId}/tags/{tag}"}}

	// CS v1.19 third_party_lookup
	GetProtocols            = Endpoint{"getProtocols", "GET", Token, []string{"/_matrix/client/v3/thirdparty/protocols", "/_matrix/client/r0/thirdparty/protocols"}}
	GetProtocolMetadata     = Endpoint{"getProtocolMetadata", "GET", Token, []string{"/_matrix/client/v3/thirdparty/protocol/{protocol}", "/_matrix/client/r0/thirdparty/protocol/{protocol}"}}
	QueryLocationByProtocol = Endpoint{"queryLocationByProtocol", "GET", Token, []string{"/_matrix/client/v3/thirdparty/location/{protocol}", "/_matrix/client/r0/thirdparty/location/{protocol}"}}
	QueryUserByProtocol     = Endpoint{"queryUserByProtocol", "GET", Token, []string{"/_matrix/client/v3/thirdparty/user/{protocol}", "/_matrix/client/r0/thirdparty/user/{protocol}"}}
	QueryLocationByAlias    = Endpoint{"queryLocationByAlias", "GET", Token, []string{"/_matrix/client/v3/thirdparty/location", "/_matrix/client/r0/thirdparty/location"}}
	QueryUserByID           = Endpoint{"queryUserByID", "GET", Token, []string{"/_matrix/client/v3/thirdparty/user", "/_matrix/client/r0/thirdparty/user"}}

	// CS v1.19 third_party_membership
	InviteBy3PID = Endpoint{"inviteBy3PID", "POST", Token, []string{"/_matrix/client/v3/rooms/{roomId}/invite", "/_matrix/client/r0/rooms/{roomId}/invite"}}

	// CS v1.19 threads_list
	GetThreadRoots = Endpoint{"getThreadRoots", "GET", Token, []string{"/_matrix/client/v1/rooms/{roomId}/threads"}}

	// CS v1.19 to_device
	SendToDevice = Endpoint{"sendToDevice", "PUT", Token, []string{"/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", "/_matrix/client/r0/sendToDevice/{eventType}/{txnId}"}}

	// CS v1.19 typing
	SetTyping = Endpoint{"setTyping", "PUT", Token, []string{"/_matrix/client/v3/rooms/{roomId}/typing/{userId}", "/_matrix/client/r0/rooms/{roomId}/typing/{userId}"}}

	// CS v1.19 users
	SearchUserDirectory = Endpoint{"searchUserDirectory", "POST", Token, []string{"/_matrix/client/v3/user_directory/search", "/_matrix/client/r0/user_directory/search"}}

	// CS v1.19 versions
	GetVersions = Endpoint{"getVersions", "GET", Optional, []string{"/_matrix/client/versions"}}

	// CS v1.19 voip
	GetTurnServer = Endpoint{"getTurnServer", "GET", Token, []string{"/_matrix/client/v3/voip/turnServer", "/_matrix/client/r0/voip/turnServer"}}

	// CS v1.19 wellknown
	GetWellknown = Endpoint{"getWellknown", "GET", None, []string{"/.well-known/matrix/client"}}

	// CS v1.19 whoami
	GetTokenOwner = Endpoint{"getTokenOwner", "GET", Token, []string{"/_matrix/client/v3/account/whoami", "/_matrix/client/r0/account/whoami"}}
)

// ClientServer lists them in the order of the specification's files.
func ClientServer() []Endpoint {
	return []Endpoint{
		SetAccountData,
		GetAccountData,
		SetAccountDataPerRoom,
		GetAccountDataPerRoom,
		DeactivateAccount,
		GetWhoIs,
		GetAdminSuspendUser,
		SetAdminSuspendUser,
		GetAdminLockUser,
		SetAdminLockUser,
		GetAccount3PIDs,
		Post3PIDs,
		Add3PID,
		Bind3PID,
		Delete3pidFromAccount,
		Unbind3pidFromAccount,
		RequestTokenTo3PIDEmail,
		RequestTokenTo3PIDMSISDN,
		PingAppservice,
		UpdateAppserviceRoomDirectoryVisibility,
		GetContentAuthed,
		GetContentOverrideNameAuthed,
		GetContentThumbnailAuthed,
		GetUrlPreviewAuthed,
		GetConfigAuthed,
		Ban,
		Unban,
		GetCapabilities,
		UploadContent,
		UploadContentToMXC,
		CreateContent,
		GetContent,
		GetContentOverrideName,
		GetContentThumbnail,
		GetUrlPreview,
		GetConfig,
		CreateRoom,
		UploadCrossSigningKeys,
		UploadCrossSigningSignatures,
		GetDevices,
		GetDevice,
		UpdateDevice,
		DeleteDevice,
		DeleteDevices,
		SetRoomAlias,
		GetRoomIdByAlias,
		DeleteRoomAlias,
		GetLocalAliases,
		GetEventContext,
		DefineFilter,
		GetFilter,
		InviteUser,
		JoinRoomById,
		JoinRoom,
		PostRoomKeysVersion,
		GetRoomKeysVersionCurrent,
		GetRoomKeysVersion,
		PutRoomKeysVersion,
		DeleteRoomKeysVersion,
		PutRoomKeyBySessionId,
		GetRoomKeyBySessionId,
		DeleteRoomKeyBySessionId,
		PutRoomKeysByRoomId,
		GetRoomKeysByRoomId,
		DeleteRoomKeysByRoomId,
		PutRoomKeys,
		GetRoomKeys,
		DeleteRoomKeys,
		UploadKeys,
		QueryKeys,
		ClaimKeys,
		GetKeysChanges,
		Kick,
		KnockRoom,
		LeaveRoom,
		ForgetRoom,
		GetJoinedRooms,
		GetRoomVisibilityOnDirectory,
		SetRoomVisibilityOnDirectory,
		GetPublicRooms,
		QueryPublicRooms,
		GetLoginFlows,
		Login,
		GenerateLoginToken,
		Logout,
		Logout_all,
		GetRoomEvents,
		GetMutualRooms,
		GetNotifications,
		GetAuthMetadata,
		GetEvents,
		InitialSync,
		GetOneEvent,
		RequestOpenIdToken,
		ChangePassword,
		RequestTokenToResetPasswordEmail,
		RequestTokenToResetPasswordMSISDN,
		PeekEvents,
		GetWellknownPolicy,
		SetPresence,
		GetPresence,
		SetProfileField,
		GetProfileField,
		DeleteProfileField,
		GetUserProfile,
		GetPushers,
		PostPusher,
		GetPushRules,
		GetPushRulesGlobal,
		GetPushRule,
		DeletePushRule,
		SetPushRule,
		IsPushRuleEnabled,
		SetPushRuleEnabled,
		GetPushRuleActions,
		SetPushRuleActions,
		SetReadMarker,
		PostReceipt,
		RedactEvent,
		Refresh,
		Register,
		RequestTokenToRegisterEmail,
		RequestTokenToRegisterMSISDN,
		CheckUsernameAvailability,
		RegistrationTokenValidity,
		GetRelatingEvents,
		GetRelatingEventsWithRelType,
		GetRelatingEventsWithRelTypeAndEventType,
		ReportRoom,
		ReportEvent,
		ReportUser,
		GetEventByTimestamp,
		RoomInitialSync,
		SendMessage,
		SetRoomStateWithKey,
		GetRoomSummary,
		UpgradeRoom,
		GetOneRoomEvent,
		GetRoomStateWithKey,
		GetRoomState,
		GetMembersByRoom,
		GetJoinedMembersByRoom,
		Search,
		GetSpaceHierarchy,
		RedirectToSSO,
		RedirectToIdP,
		GetWellknownSupport,
		Sync,
		GetRoomTags,
		SetRoomTag,
		DeleteRoomTag,
		GetProtocols,
		GetProtocolMetadata,
		QueryLocationByProtocol,
		QueryUserByProtocol,
		QueryLocationByAlias,
		QueryUserByID,
		InviteBy3PID,
		GetThreadRoots,
		SendToDevice,
		SetTyping,
		SearchUserDirectory,
		GetVersions,
		GetTurnServer,
		GetWellknown,
		GetTokenOwner,
	}
}
