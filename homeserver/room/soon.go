package room

import "errors"

var errSoon = errors.New("room: under construction")
