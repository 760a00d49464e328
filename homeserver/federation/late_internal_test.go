package federation

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"konsil/matrix/event"
	"konsil/matrix/id"
)

// A12: what waits for others is bounded by room, in all, and in time.
func TestA12LateEventsAreBounded(t *testing.T) {
	var l late
	l.init()
	now := time.Unix(0, 0)
	add := func(roomID id.RoomID, n, size int) {
		pdu := &event.PDU{ID: id.EventID(fmt.Sprint(roomID, n)), RoomID: roomID, JSON: bytes.Repeat([]byte{'x'}, size)}
		l.wait("there.test", []received{{pdu: pdu}}, now)
	}
	count := func() (events, size int) {
		for _, w := range l.rooms {
			events += len(w.events)
			for _, e := range w.events {
				size += len(e.pdu.JSON)
			}
		}
		if size != l.bytes {
			t.Errorf("%d bytes are counted as %d", size, l.bytes)
		}
		return events, size
	}
	for i := range 3 * lateRoom {
		add("!a", i, 100)
		add("!a", i, 100) // known
	}
	if n, _ := count(); n != lateRoom {
		t.Errorf("%d events in one room", n)
	}
	if got := l.take(now); len(got) != 0 {
		t.Errorf("%d rooms to try where nothing has come", len(got))
	}
	l.more("!a")
	l.more("!elsewhere")
	got := l.take(now)
	if len(got) != 1 || got[0][0].pdu.ID != id.EventID(fmt.Sprint("!a", 2*lateRoom)) {
		t.Fatalf("took %v", got)
	}
	l.drop(got[0][3].pdu)
	l.drop(got[0][3].pdu)
	if n, _ := count(); n != lateRoom-1 || len(l.take(now)) != 0 {
		t.Errorf("%d events after one connected", n)
	}
	for i := range 200 {
		add(id.RoomID(fmt.Sprint("!", i)), 0, 60_000)
	}
	if _, size := count(); size > lateBytes || size < lateBytes*9/10 {
		t.Errorf("%d bytes wait", size)
	}
	l.take(now.Add(lateTime + 1))
	if n, size := count(); n != 0 || size != 0 || len(l.rooms) != 0 {
		t.Errorf("%d events of %d bytes in %d rooms are not forgotten", n, size, len(l.rooms))
	}
}
