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
		l.wait("there.test", []received{{pdu: &event.PDU{ID: id.EventID(fmt.Sprint(roomID, n)), RoomID: roomID, JSON: bytes.Repeat([]byte{'x'}, size)}}}, now)
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
	if events := l.take("!a", now); events[0].pdu.ID != id.EventID(fmt.Sprint("!a", 2*lateRoom)) {
		t.Errorf("the oldest is %s", events[0].pdu.ID)
	}
	l.put("!a", nil)
	for i := range 200 {
		add(id.RoomID(fmt.Sprint("!", i)), 0, 60_000)
	}
	if _, size := count(); size > lateBytes || size < lateBytes*9/10 {
		t.Errorf("%d bytes wait", size)
	}
	l.forget(now.Add(lateTime + 1))
	if n, size := count(); n != 0 || size != 0 || len(l.rooms) != 0 {
		t.Errorf("%d events of %d bytes in %d rooms are not forgotten", n, size, len(l.rooms))
	}
}

// Who comes while another tries the events of a room makes that one try again.
func TestLateEventsAreTriedByOne(t *testing.T) {
	var l late
	l.init()
	now := time.Unix(0, 0)
	l.wait("there.test", []received{{pdu: &event.PDU{ID: "$1", RoomID: "!a"}}, {pdu: &event.PDU{ID: "$2", RoomID: "!a"}}}, now)
	if got := l.take("!a", now); len(got) != 2 {
		t.Fatalf("took %v", got)
	}
	if got := l.take("!a", now); len(got) != 0 {
		t.Errorf("a second one took %v", got)
	}
	if left, again := l.put("!a", nil); !again || len(left) != 2 {
		t.Errorf("left %v, again %v", left, again)
	}
	if left, again := l.put("!a", map[id.EventID]bool{"$1": true}); !again || len(left) != 1 {
		t.Errorf("after progress: left %v, again %v", left, again)
	}
	if left, again := l.put("!a", nil); again {
		t.Errorf("without progress: left %v, again %v", left, again)
	}
	if got := l.take("!a", now); len(got) != 1 {
		t.Errorf("took %v", got)
	}
	if left, again := l.put("!a", map[id.EventID]bool{"$2": true}); again || len(left) != 0 || len(l.rooms) != 0 {
		t.Errorf("at the end: left %v, again %v, %d rooms", left, again, len(l.rooms))
	}
}
