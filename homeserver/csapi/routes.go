package csapi

import (
	"net/http"
	"slices"

	"konsil/kit/web"
	"konsil/matrix/endpoint"
)

// A row says which endpoint is served, by what, and what a request to it may cost.
type row struct {
	endpoint.Endpoint
	handle handler
	limit  class
}

// rows joins the subjects in the order of the specification. An endpoint missing from them is one we do not serve.
func (a *API) rows() []row {
	return slices.Concat(
		a.discoveryRoutes(),
		a.loginRoutes(),
		a.registrationRoutes(),
		a.accountRoutes(),
		a.deviceRoutes(),
		a.profileRoutes(),
		a.accountDataRoutes(),
		a.serviceRoutes(),
		a.appServiceRoutes(),
		a.syncRoutes(),
		a.pushRuleRoutes(),
		a.pusherRoutes(),
		a.threadSubscriptionRoutes(),
		a.roomCreationRoutes(),
		a.membershipRoutes(),
		a.roomSendRoutes(),
		a.delayedEventRoutes(),
		a.roomStateRoutes(),
		a.roomHistoryRoutes(),
		a.roomDirectoryRoutes(),
		a.searchRoutes(),
		a.spaceRoutes(),
		a.mediaRoutes(),
		a.previewRoutes(),
		a.keyRoutes(),
		a.crossSigningRoutes(),
		a.keyBackupRoutes(),
		a.toDeviceRoutes(),
		a.typingRoutes(),
		a.receiptRoutes(),
		a.presenceRoutes(),
		a.reportRoutes(),
		a.serverNoticeRoutes(),
	)
}

// Routes lists what the mux has to serve: each row under each spelling of its path.
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

// Serves reports whether the API answers an endpoint: what /versions and the proxy's tests ask.
func (a *API) Serves(e endpoint.Endpoint) bool {
	return slices.ContainsFunc(a.rows(), func(rw row) bool { return rw.Name == e.Name })
}
