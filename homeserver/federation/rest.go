package federation

// Busy reports whether something is on its way to another server, or still to be told: a domain that is busy is not put to
// sleep. A server that cannot be reached does not keep it awake, see NextDue.
func (f *Federation) Busy() bool { return f.Sender.busy() }

// NextDue says when a server that could not be reached is to be tried again, in ms since 1970; 0 for never. A sleeping
// domain is woken then.
func (f *Federation) NextDue() int64 { return f.Sender.nextDue() }

func (s *Sender) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dests {
		if d.running || len(d.inFlight) > 0 || len(d.items) > 0 && d.failures == 0 {
			return true
		}
	}
	return false
}

func (s *Sender) nextDue() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due int64
	for _, d := range s.dests {
		if d.failures == 0 || len(d.items) == 0 && !d.stored {
			continue
		}
		if at := d.retryAt.UnixMilli(); due == 0 || at < due {
			due = at
		}
	}
	return due
}
