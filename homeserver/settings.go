package homeserver

import (
	"konsil/homeserver/account"
	"konsil/matrix/id"
)

// Settings are what an operator decides for all domains of a Host. The zero value is careful: closed registration, rate
// limits on, presence off, strong password hashing.
type Settings struct {
	OpenRegistration   bool   // anybody may register with m.login.dummy alone
	RegistrationSecret string // accepted by the shared-secret registration API; "" switches that off
	CheapPasswords     bool   // hash fast and insecurely: test suites only
	NoRateLimits       bool   // test suites only
	Presence           bool   // tell who is online; off by default, for privacy and cost
	DeviceNames        bool   // show device display names to other servers
	MaxUploadBytes     int64  // 0 means 100 MiB
	CacheBytes         int64  // memory for rooms and events of one awake domain; 0 means 16 MiB
	KeyServers         []id.ServerName
	TURN               TURN
	URLPreviews        bool   // fetch previews of links for clients; off by default
	AppServiceDir      string // folder with registrations of application services: *.yaml for all domains, <domain>/*.yaml for one
	PublicBaseURL      string // what /.well-known/matrix/client names; "" derives it from the request
	AllowPrivate       bool   // connect to loopback and private addresses: development and tests
}

// TURN is the relay for calls that clients are told of. CS v1.16 #get_matrixclientv3voipturnserver
type TURN struct {
	URIs   []string // turn:turn.example.org:3478?transport=udp
	Secret string   // shared with the relay; credentials are made of it
}

func (s Settings) registration() account.Registration {
	if s.OpenRegistration {
		return account.Open
	}
	return account.Closed
}

// minPassword is the least length of a password: the default, or that of the acceptance suite's users.
func (s Settings) minPassword() int {
	if s.CheapPasswords {
		return 6
	}
	return 0
}

// hasher makes and checks password hashes, for all domains of a process.
func (s Settings) hasher() *account.Hasher {
	if s.CheapPasswords {
		return account.NewHasher(account.CheapCost)
	}
	return account.NewHasher(account.DefaultCost)
}
