package push

import (
	"encoding/binary"
	"errors"
	"slices"

	"konsil/matrix/id"
	"konsil/matrix/pushrule"
)

// roomCounts are the counts of one room, for all its local members. Guarded by Keeper.mu.
type roomCounts struct {
	last    int64 // position of the last event counted
	members map[id.UserID]*member
}

// member is a local user in a room. What they have read is split by thread; the main timeline is a thread of its own.
// CS v1.16 #threaded-read-receipts
type member struct {
	user    id.UserID
	name    string // display name in this room
	since   int64  // position of their join: what came before is not counted
	rules   *userRules
	read    int64 // of the unthreaded receipt that is most ahead
	main    tally
	threads map[id.EventID]*tally // by root; nil for none
}

// tally counts one thread.
type tally struct {
	notify    int64
	highlight int64
	read      int64 // of the threaded receipt that is most ahead
}

// maxThreads bounds the threads of a room that are counted apart for one member. The oldest one counts as read.
const maxThreads = 200

func (t *tally) add(o *pushrule.Outcome) {
	if o.Notify {
		t.notify++
	}
	if o.Highlight {
		t.highlight++
	}
}

func (t *tally) clear() { t.notify, t.highlight = 0, 0 }

// thread gives the tally of a thread, "" for the main timeline.
func (m *member) thread(root id.EventID) *tally {
	if root == "" {
		return &m.main
	}
	t := m.threads[root]
	if t == nil {
		if m.threads == nil {
			m.threads = make(map[id.EventID]*tally)
		}
		if len(m.threads) >= maxThreads {
			m.dropThread()
		}
		t = &tally{}
		m.threads[root] = t
	}
	return t
}

// dropThread makes room for one more: a thread without unread events, else any.
func (m *member) dropThread() {
	var victim id.EventID
	for root, t := range m.threads {
		if victim = root; t.notify == 0 && t.highlight == 0 {
			break
		}
	}
	delete(m.threads, victim)
}

// idle says that there is nothing to store about the member.
func (m *member) idle() bool {
	return m.read == 0 && m.main == tally{} && len(m.threads) == 0
}

// encode writes the counts for the store: the position of the last event, then each member who has any.
func (r *roomCounts) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(r.last))
	users := make([]id.UserID, 0, len(r.members))
	for user, m := range r.members {
		if !m.idle() {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	for _, user := range users {
		m := r.members[user]
		b = appendText(b, string(user))
		b = binary.AppendUvarint(b, uint64(m.read))
		b = m.main.append(b)
		b = binary.AppendUvarint(b, uint64(len(m.threads)))
		for root, t := range m.threads {
			b = appendText(b, string(root))
			b = t.append(b)
		}
	}
	return b
}

func (t *tally) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(t.notify))
	b = binary.AppendUvarint(b, uint64(t.highlight))
	return binary.AppendUvarint(b, uint64(t.read))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errCounts = errors.New("stored unread counts are damaged")

// decode reads what encode wrote into members that are there; who has left meanwhile is skipped.
func (r *roomCounts) decode(b []byte) error {
	d := decoder{b: b}
	r.last = d.int()
	for len(d.b) > 0 && !d.bad {
		stored := member{user: id.UserID(d.text()), read: d.int(), main: d.tally()}
		for n := d.int(); n > 0 && !d.bad; n-- {
			root := id.EventID(d.text())
			t := d.tally()
			*stored.thread(root) = t
		}
		if m := r.members[stored.user]; m != nil {
			m.read, m.main, m.threads = stored.read, stored.main, stored.threads
		}
	}
	if d.bad {
		return errCounts
	}
	return nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) int() int64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return int64(n)
}

func (d *decoder) text() string {
	n := d.int()
	if n < 0 || n > int64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) tally() tally {
	return tally{notify: d.int(), highlight: d.int(), read: d.int()}
}
