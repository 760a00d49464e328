package id

// The types below check themselves when JSON, query values or path values are decoded into them. Encoding needs no
// method: they are strings already.

// UnmarshalText checks the text and takes it.
func (n *ServerName) UnmarshalText(text []byte) error { return take(n, text, ParseServerName) }

// UnmarshalText checks the text and takes it.
func (u *UserID) UnmarshalText(text []byte) error { return take(u, text, ParseUserID) }

// UnmarshalText checks the text and takes it.
func (r *RoomID) UnmarshalText(text []byte) error { return take(r, text, ParseRoomID) }

// UnmarshalText checks the text and takes it.
func (e *EventID) UnmarshalText(text []byte) error { return take(e, text, ParseEventID) }

// UnmarshalText checks the text and takes it.
func (a *RoomAlias) UnmarshalText(text []byte) error { return take(a, text, ParseRoomAlias) }

// UnmarshalText checks the text and takes it.
func (d *DeviceID) UnmarshalText(text []byte) error { return take(d, text, ParseDeviceID) }

// UnmarshalText checks the text and takes it.
func (k *KeyID) UnmarshalText(text []byte) error { return take(k, text, ParseKeyID) }

func take[T ~string](dst *T, text []byte, parse func(string) (T, error)) error {
	parsed, err := parse(string(text))
	if err != nil {
		return err
	}
	*dst = parsed
	return nil
}
