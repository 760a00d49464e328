package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/store"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

func (a *API) deviceRoutes() []row {
	return []row{
		{endpoint.GetDevices, user(a.devices), limitRead},
		{endpoint.GetDevice, user(a.device), limitRead},
		{endpoint.UpdateDevice, user(a.updateDevice), limitWrite},
		{endpoint.DeleteDevice, user(a.deleteDevice), limitProve},
		{endpoint.DeleteDevices, user(a.deleteDevices), limitProve},
	}
}

type deviceInfo struct {
	ID          id.DeviceID `json:"device_id"`
	DisplayName string      `json:"display_name,omitempty"`
	LastSeenIP  string      `json:"last_seen_ip,omitempty"`
	LastSeen    int64       `json:"last_seen_ts,omitempty"`
	UserAgent   string      `json:"org.matrix.msc3852.last_seen_user_agent,omitempty"` // MSC3852
}

func describe(d store.Device) deviceInfo {
	return deviceInfo{d.ID, d.DisplayName, d.LastSeenIP, d.LastSeen, d.LastSeenAgent}
}

type devicesResponse struct {
	Devices []deviceInfo `json:"devices"`
}

func (a *API) devices(ctx context.Context, caller account.Caller, _ None) (devicesResponse, error) {
	devices, err := a.Accounts.Devices(ctx, caller.User)
	resp := devicesResponse{[]deviceInfo{}}
	for _, d := range devices {
		resp.Devices = append(resp.Devices, describe(d))
	}
	return resp, err
}

type devicePath struct {
	Device id.DeviceID `path:"deviceId"`
}

func (a *API) device(ctx context.Context, caller account.Caller, req devicePath) (deviceInfo, error) {
	d, err := a.Accounts.Device(ctx, caller.User, req.Device)
	return describe(d), err
}

type updateDeviceRequest struct {
	Device      id.DeviceID `path:"deviceId"`
	DisplayName *string     `json:"display_name"` // nil leaves it
}

func (a *API) updateDevice(ctx context.Context, caller account.Caller, req updateDeviceRequest) (None, error) {
	if caller.AppService != nil { // may make devices this way. AS v1.17 #creating-devices
		name := ""
		if req.DisplayName != nil {
			name = *req.DisplayName
		}
		return None{}, a.Accounts.CreateDevice(ctx, caller.User, req.Device, name)
	}
	if req.DisplayName == nil {
		_, err := a.Accounts.Device(ctx, caller.User, req.Device)
		return None{}, err
	}
	return None{}, a.Accounts.RenameDevice(ctx, caller.User, req.Device, *req.DisplayName)
}

type deleteDeviceRequest struct {
	Device id.DeviceID     `path:"deviceId"`
	Body   json.RawMessage `body:"raw"`
}

// deleteDevice logs a device out for good. CS v1.16 #delete_matrixclientv3devicesdeviceid
func (a *API) deleteDevice(ctx context.Context, caller account.Caller, req deleteDeviceRequest) (None, error) {
	// The device stands in the path, not in the body: a proof for one is none for another (B12).
	e := endpoint.DeleteDevice
	e.Name += " " + string(req.Device)
	if err := a.prove(ctx, caller, e, req.Body); err != nil {
		return None{}, err
	}
	return None{}, a.Accounts.DeleteDevices(ctx, caller.User, []id.DeviceID{req.Device})
}

type deleteDevicesRequest struct {
	Devices []id.DeviceID   `json:"devices" bind:"required"`
	Body    json.RawMessage `body:"raw"`
}

func (a *API) deleteDevices(ctx context.Context, caller account.Caller, req deleteDevicesRequest) (None, error) {
	if err := a.prove(ctx, caller, endpoint.DeleteDevices, req.Body); err != nil {
		return None{}, err
	}
	return None{}, a.Accounts.DeleteDevices(ctx, caller.User, req.Devices)
}
