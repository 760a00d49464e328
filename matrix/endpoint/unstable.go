package endpoint

// Endpoints that are not in the Client-Server API's files: from proposals, from other files, or made by other servers and
// spoken by everybody's tools.
var (
	// MSC3391
	DeleteAccountData        = Endpoint{"deleteAccountData", "DELETE", Token, []string{"/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}"}}
	DeleteAccountDataPerRoom = Endpoint{"deleteAccountDataPerRoom", "DELETE", Token, []string{"/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}"}}

	// MSC4306
	GetThreadSubscription = Endpoint{"getThreadSubscription", "GET", Token, []string{"/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription"}}
	SubscribeThread       = Endpoint{"subscribeThread", "PUT", Token, []string{"/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription"}}
	UnsubscribeThread     = Endpoint{"unsubscribeThread", "DELETE", Token, []string{"/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription"}}

	// MSC4140
	GetDelayedEvents         = Endpoint{"getDelayedEvents", "GET", Token, []string{"/_matrix/client/unstable/org.matrix.msc4140/delayed_events"}}
	UpdateDelayedEvent       = Endpoint{"updateDelayedEvent", "POST", None, []string{"/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}"}}
	UpdateDelayedEventByBody = Endpoint{"updateDelayedEventByBody", "POST", None, []string{"/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}"}}

	// MSC4186
	SlidingSync = Endpoint{"slidingSync", "POST", Token, []string{"/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"}}

	// Synapse's administration API, as far as tools and test suites speak it.
	SharedSecretNonce    = Endpoint{"sharedSecretNonce", "GET", None, []string{"/_synapse/admin/v1/register"}}
	SharedSecretRegister = Endpoint{"sharedSecretRegister", "POST", None, []string{"/_synapse/admin/v1/register"}}

	ListReports = Endpoint{"listReports", "GET", Token, []string{"/_synapse/admin/v1/event_reports"}}

	SendServerNotice        = Endpoint{"sendServerNotice", "POST", Token, []string{"/_synapse/admin/v1/send_server_notice"}}
	SendServerNoticeWithTxn = Endpoint{"sendServerNoticeWithTxn", "PUT", Token, []string{"/_synapse/admin/v1/send_server_notice/{txnId}"}}
)
