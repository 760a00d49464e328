package account

import (
	"konsil/kit/clock"
	"konsil/matrix/id"
)

type attempts struct{}

func newAttempts(clock.Clock) *attempts { return &attempts{} }

func (k *Keeper) attempt(user id.UserID) error { return nil }
