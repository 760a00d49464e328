package notify

// Resting is the number of users who are kept though none of their clients waits.
func (n *Notifier) Resting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.idlers
}
