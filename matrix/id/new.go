package id

import (
	"fmt"
	"io"
)

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewRoomID draws the room ID of a new room of versions 1 to 11: 18 letters, 102 bits.
func NewRoomID(rand io.Reader, server ServerName) (RoomID, error) {
	s, err := draw(rand, 18)
	if err != nil {
		return "", fmt.Errorf("new room id: %w", err)
	}
	return RoomID("!" + s + ":" + string(server)), nil
}

// NewEventID draws the event ID of a new event in room versions 1 and 2; later ones are hashes. RV 1 #event-ids
func NewEventID(rand io.Reader, server ServerName) (EventID, error) {
	s, err := draw(rand, 18)
	if err != nil {
		return "", fmt.Errorf("new event id: %w", err)
	}
	return EventID("$" + s + ":" + string(server)), nil
}

// NewDeviceID draws a device ID as short as people know it from other servers: ten capital letters.
func NewDeviceID(rand io.Reader) (DeviceID, error) {
	s, err := drawFrom(rand, 10, letters[:26])
	if err != nil {
		return "", fmt.Errorf("new device id: %w", err)
	}
	return DeviceID(s), nil
}

// NewUserID joins a localpart fit for a new account with the server's name. Appendices v1.16 #user-identifiers
func NewUserID(localpart string, server ServerName) (UserID, error) {
	if !ValidLocalpart(localpart) {
		return "", invalid("user id", "localpart")
	}
	return ParseUserID("@" + localpart + ":" + string(server))
}

func draw(rand io.Reader, n int) (string, error) { return drawFrom(rand, n, letters) }

// drawFrom draws n characters, each equally likely: bytes past the largest multiple of the alphabet are drawn again.
func drawFrom(rand io.Reader, n int, alphabet string) (string, error) {
	out := make([]byte, 0, n)
	limit := 256 - 256%len(alphabet)
	buf := make([]byte, n)
	for len(out) < n {
		if _, err := io.ReadFull(rand, buf); err != nil {
			return "", err
		}
		for _, b := range buf {
			if int(b) < limit && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out), nil
}
