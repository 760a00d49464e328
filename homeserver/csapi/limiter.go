package csapi

import "konsil/kit/clock"

type limiter struct{}

func newLimiter(clock.Clock, bool) *limiter { return &limiter{} }

func (l *limiter) allow(c class, who string) error { return nil }
