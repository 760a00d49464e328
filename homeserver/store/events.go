package store

// Status says what became of an event.
type Status int64

// The values of event.status.
const (
	Accepted   Status = 0 // took part in the room's state and timeline
	Outlier    Status = 1 // known as somebody's auth event or state, or as an invite; its own place is unknown
	Rejected   Status = 2 // failed the authorisation rules; never served, never referred to by us
	SoftFailed Status = 3 // allowed where it stands but not now; kept for the graph, never shown
)

// EventMeta is what we know of an event besides its JSON.
type EventMeta struct {
	NID         int64
	RoomNID     int64
	Pos         int64 // > 0 place in the domain's order, < 0 history from before we knew, 0 not in the timeline
	Topo        int64 // order within the room, before Pos
	Status      Status
	Slot        int64   // 0 for what is no state event
	Replaces    int64   // event that held the slot before, 0 for none
	StateBefore int64   // snapshot, 0 for outliers
	StateAfter  int64   // snapshot, 0 for outliers
	RoomState   int64   // snapshot of the room's current state once this event was in
	RedactedBy  int64   // the redaction that was applied, 0 for none
	Txn         string  // the client transaction that sent it, see TxnKey; "" for others
	Auth        []int64 // auth events
}
