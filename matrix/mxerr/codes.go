package mxerr

import (
	"time"
)

// The codes of the specification that Konsil answers or understands. CS v1.16 #standard-error-response
const (
	CodeBadAlias                    = "M_BAD_ALIAS"
	CodeBadJSON                     = "M_BAD_JSON"
	CodeBadState                    = "M_BAD_STATE"
	CodeBadStatus                   = "M_BAD_STATUS"
	CodeCannotLeaveServerNoticeRoom = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
	CodeCannotOverwriteMedia        = "M_CANNOT_OVERWRITE_MEDIA"
	CodeCaptchaInvalid              = "M_CAPTCHA_INVALID"
	CodeCaptchaNeeded               = "M_CAPTCHA_NEEDED"
	CodeConnectionFailed            = "M_CONNECTION_FAILED"
	CodeConnectionTimeout           = "M_CONNECTION_TIMEOUT"
	CodeDuplicateAnnotation         = "M_DUPLICATE_ANNOTATION"
	CodeExclusive                   = "M_EXCLUSIVE"
	CodeForbidden                   = "M_FORBIDDEN"
	CodeGuestAccessForbidden        = "M_GUEST_ACCESS_FORBIDDEN"
	CodeIncompatibleRoomVersion     = "M_INCOMPATIBLE_ROOM_VERSION"
	CodeInvalidParam                = "M_INVALID_PARAM"
	CodeInvalidRoomState            = "M_INVALID_ROOM_STATE"
	CodeInvalidSignature            = "M_INVALID_SIGNATURE"
	CodeInvalidUsername             = "M_INVALID_USERNAME"
	CodeInviteBlocked               = "M_INVITE_BLOCKED"
	CodeKeyTooLarge                 = "M_KEY_TOO_LARGE"
	CodeLimitExceeded               = "M_LIMIT_EXCEEDED"
	CodeMissingParam                = "M_MISSING_PARAM"
	CodeMissingToken                = "M_MISSING_TOKEN"
	CodeNotFound                    = "M_NOT_FOUND"
	CodeNotJSON                     = "M_NOT_JSON"
	CodeNotYetUploaded              = "M_NOT_YET_UPLOADED"
	CodeProfileTooLarge             = "M_PROFILE_TOO_LARGE"
	CodeResourceLimitExceeded       = "M_RESOURCE_LIMIT_EXCEEDED"
	CodeRoomInUse                   = "M_ROOM_IN_USE"
	CodeServerNotTrusted            = "M_SERVER_NOT_TRUSTED"
	CodeThreepidAuthFailed          = "M_THREEPID_AUTH_FAILED"
	CodeThreepidDenied              = "M_THREEPID_DENIED"
	CodeThreepidInUse               = "M_THREEPID_IN_USE"
	CodeThreepidMediumNotSupported  = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
	CodeThreepidNotFound            = "M_THREEPID_NOT_FOUND"
	CodeTooLarge                    = "M_TOO_LARGE"
	CodeUnableToAuthorizeJoin       = "M_UNABLE_TO_AUTHORISE_JOIN"
	CodeUnableToGrantJoin           = "M_UNABLE_TO_GRANT_JOIN"
	CodeUnauthorized                = "M_UNAUTHORIZED"
	CodeUnknown                     = "M_UNKNOWN"
	CodeUnknownDevice               = "M_UNKNOWN_DEVICE"
	CodeUnknownPos                  = "M_UNKNOWN_POS"
	CodeUnknownToken                = "M_UNKNOWN_TOKEN"
	CodeUnrecognized                = "M_UNRECOGNIZED"
	CodeUnsupportedRoomVersion      = "M_UNSUPPORTED_ROOM_VERSION"
	CodeURLNotSet                   = "M_URL_NOT_SET"
	CodeUserDeactivated             = "M_USER_DEACTIVATED"
	CodeUserInUse                   = "M_USER_IN_USE"
	CodeUserLimitExceeded           = "M_USER_LIMIT_EXCEEDED"
	CodeUserLocked                  = "M_USER_LOCKED"
	CodeUserSuspended               = "M_USER_SUSPENDED"
	CodeWeakPassword                = "M_WEAK_PASSWORD"
	CodeWrongRoomKeysVersion        = "M_WRONG_ROOM_KEYS_VERSION"
	CodeAppServiceLoginUnsupported  = "M_APPSERVICE_LOGIN_UNSUPPORTED"
	CodeTermsNotSigned              = "M_TERMS_NOT_SIGNED"
	CodeInvalidEmail                = "M_INVALID_EMAIL"
	CodeNoValidSession              = "M_NO_VALID_SESSION"
	CodeSessionNotValidated         = "M_SESSION_NOT_VALIDATED"
)

// HTTP statuses by name, so that this package needs no net/http.
const (
	statusBadRequest       = 400
	statusUnauthorized     = 401
	statusForbidden        = 403
	statusNotFound         = 404
	statusMethodNotAllowed = 405
	statusRequestTooLarge  = 413
	statusTooManyRequests  = 429
	statusInternal         = 500
	statusBadGateway       = 502
	statusGatewayTimeout   = 504
)

// Forbidden refuses what the caller may not do.
func Forbidden(format string, args ...any) *Error {
	return New(statusForbidden, CodeForbidden, format, args...)
}

// NotFound says that there is no such thing, or none for this caller.
func NotFound(format string, args ...any) *Error {
	return New(statusNotFound, CodeNotFound, format, args...)
}

// InvalidParam says that a parameter has a wrong value.
func InvalidParam(format string, args ...any) *Error {
	return New(statusBadRequest, CodeInvalidParam, format, args...)
}

// MissingParam says that a required parameter is missing.
func MissingParam(format string, args ...any) *Error {
	return New(statusBadRequest, CodeMissingParam, format, args...)
}

// BadJSON says that the body is JSON of the wrong shape.
func BadJSON(format string, args ...any) *Error {
	return New(statusBadRequest, CodeBadJSON, format, args...)
}

// NotJSON says that the body is not JSON.
func NotJSON(format string, args ...any) *Error {
	return New(statusBadRequest, CodeNotJSON, format, args...)
}

// TooLarge says that the request or a thing in it is over its size limit.
func TooLarge(format string, args ...any) *Error {
	return New(statusRequestTooLarge, CodeTooLarge, format, args...)
}

// Unrecognized answers an endpoint we do not know. CS v1.16 #common-error-codes
func Unrecognized() *Error {
	return New(statusNotFound, CodeUnrecognized, "Unrecognized request")
}

// WrongMethod answers an endpoint we know, called with another method. CS v1.16 #common-error-codes
func WrongMethod() *Error {
	return New(statusMethodNotAllowed, CodeUnrecognized, "Unrecognized request method")
}

// MissingToken asks for an access token.
func MissingToken() *Error {
	return New(statusUnauthorized, CodeMissingToken, "Missing access token")
}

// UnknownToken refuses an access token. With softLogout the client keeps its device and keys and logs in again.
// CS v1.16 #soft-logout
func UnknownToken(softLogout bool) *Error {
	e := New(statusUnauthorized, CodeUnknownToken, "Unknown or expired access token")
	if softLogout {
		return e.With("soft_logout", true)
	}
	return e
}

// Unauthorized refuses a federation request that is not properly signed. SS v1.16 #request-authentication
func Unauthorized(format string, args ...any) *Error {
	return New(statusUnauthorized, CodeUnauthorized, format, args...)
}

// LimitExceeded asks the caller to come back later. CS v1.16 #rate-limiting
func LimitExceeded(retryAfter time.Duration) *Error {
	return New(statusTooManyRequests, CodeLimitExceeded, "Too many requests").
		With("retry_after_ms", retryAfter.Milliseconds())
}

// UnknownPos says that a sliding sync connection has to start again. MSC4186
func UnknownPos() *Error {
	return New(statusBadRequest, CodeUnknownPos, "Unknown position")
}

// UserInUse refuses a user ID that is taken.
func UserInUse() *Error {
	return New(statusBadRequest, CodeUserInUse, "User ID already taken")
}

// RoomInUse refuses a room alias that is taken.
func RoomInUse() *Error {
	return New(statusBadRequest, CodeRoomInUse, "Room alias already taken")
}

// InvalidUsername refuses a localpart outside the grammar.
func InvalidUsername() *Error {
	return New(statusBadRequest, CodeInvalidUsername, "User ID contains invalid characters or is too long")
}

// IncompatibleRoomVersion says that the room's version is none the caller's server supports. SS v1.16 #joining-rooms
func IncompatibleRoomVersion(version string) *Error {
	return New(statusBadRequest, CodeIncompatibleRoomVersion,
		"Your homeserver does not support the features required to join this room").With("room_version", version)
}

// UnsupportedRoomVersion refuses to make a room of a version we do not know.
func UnsupportedRoomVersion() *Error {
	return New(statusBadRequest, CodeUnsupportedRoomVersion, "This room version is not supported")
}

// InvalidRoomState refuses an initial state of createRoom that the room's rules do not allow.
func InvalidRoomState(format string, args ...any) *Error {
	return New(statusBadRequest, CodeInvalidRoomState, format, args...)
}

// BadState refuses a change that makes no sense from here, like unbanning who is not banned.
func BadState(format string, args ...any) *Error {
	return New(statusForbidden, CodeBadState, format, args...)
}

// GuestAccessForbidden refuses a guest.
func GuestAccessForbidden() *Error {
	return New(statusForbidden, CodeGuestAccessForbidden, "Guest access not allowed")
}

// UnableToAuthorizeJoin says that we can not tell whether a restricted join is allowed. SS v1.16 #restricted-rooms
func UnableToAuthorizeJoin() *Error {
	return New(statusBadRequest, CodeUnableToAuthorizeJoin, "Unable to authorise the join, try another server")
}

// UnableToGrantJoin says that the join is allowed but no user of ours may vouch for it. SS v1.16 #restricted-rooms
func UnableToGrantJoin() *Error {
	return New(statusBadRequest, CodeUnableToGrantJoin, "No user of this server can authorise the join, try another server")
}

// WrongRoomKeysVersion refuses keys for a backup version that is not the current one. CS v1.16 #server-side-key-backups
func WrongRoomKeysVersion(current string) *Error {
	return New(statusForbidden, CodeWrongRoomKeysVersion, "Wrong backup version").With("current_version", current)
}

// Exclusive refuses a name that an application service has reserved.
func Exclusive(format string, args ...any) *Error {
	return New(statusBadRequest, CodeExclusive, format, args...)
}

// WeakPassword refuses a password the policy does not allow.
func WeakPassword(format string, args ...any) *Error {
	return New(statusBadRequest, CodeWeakPassword, format, args...)
}

// UserDeactivated refuses a login to an account that is no more.
func UserDeactivated() *Error {
	return New(statusForbidden, CodeUserDeactivated, "This account has been deactivated")
}

// InvalidSignature refuses a key upload whose signature does not fit.
func InvalidSignature(format string, args ...any) *Error {
	return New(statusBadRequest, CodeInvalidSignature, format, args...)
}

// ConnectionFailed says that another server could not be reached; the reason stays with us.
func ConnectionFailed() *Error {
	return New(statusBadGateway, CodeConnectionFailed, "The other server could not be reached")
}

// ConnectionTimeout says that another server did not answer in time.
func ConnectionTimeout() *Error {
	return New(statusGatewayTimeout, CodeConnectionTimeout, "The other server did not answer in time")
}

// NotYetUploaded says that media was announced and has not come yet. CS v1.16 #content-repository
func NotYetUploaded() *Error {
	return New(statusGatewayTimeout, CodeNotYetUploaded, "Content has not yet been uploaded")
}

// Unknown is for a request that failed for a reason without a code. It is the client's fault (400).
func Unknown(format string, args ...any) *Error {
	return New(statusBadRequest, CodeUnknown, format, args...)
}

// Internal is what a caller sees of an error of our own: nothing but that there was one.
func Internal() *Error {
	return New(statusInternal, CodeUnknown, "Internal server error")
}
