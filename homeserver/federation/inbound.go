package federation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// Limits of a transaction. SS v1.16 #transactions
const (
	maxPDUs = 50
	maxEDUs = 100
)

// transactionTime bounds the work on one transaction, fetching what is missing included. The sender waits a minute; what is
// stored until then stays, so a repeated transaction goes on where this one stopped.
const transactionTime = 55 * time.Second

// inbound is what is remembered of transactions under way.
type inbound struct {
	mu      sync.Mutex
	running map[txnKey]*running // guarded by mu
}

type txnKey struct {
	origin id.ServerName
	txnID  string
}

type running struct {
	done   chan struct{}
	answer []byte // read after done
	err    error  // read after done
}

func (in *inbound) init() { in.running = map[txnKey]*running{} }

// Transaction takes a transaction of an authenticated server and gives the JSON answer. The same transaction again, at the
// same time or later, gets the same answer and is processed once (A4). SS v1.16 #put_matrixfederationv1sendtxnid
func (f *Federation) Transaction(ctx context.Context, origin id.ServerName, txnID string, body []byte) ([]byte, error) {
	key := txnKey{origin, txnID}
	f.inbound.mu.Lock()
	if r, ok := f.inbound.running[key]; ok {
		f.inbound.mu.Unlock()
		select {
		case <-r.done:
			return r.answer, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r := &running{done: make(chan struct{})}
	f.inbound.running[key] = r
	f.inbound.mu.Unlock()

	// Who hangs up early gets its events processed all the same.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionTime)
	defer cancel()
	r.answer, r.err = f.transaction(work, origin, txnID, body)
	close(r.done)
	f.inbound.mu.Lock()
	delete(f.inbound.running, key)
	f.inbound.mu.Unlock()
	return r.answer, r.err
}

func (f *Federation) transaction(ctx context.Context, origin id.ServerName, txnID string, body []byte) ([]byte, error) {
	var known []byte
	err := f.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		known, err = tx.TransactionAnswer(ctx, origin, txnID)
		return err
	})
	if err == nil {
		return known, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("look up transaction: %w", err)
	}
	pdus, edus, err := parseTransaction(body)
	if err != nil {
		return nil, err
	}
	// To-device messages and device lists wait for no event: the keys in them are what makes the events readable.
	first, rest := splitEDUs(edus)
	var results pduResults
	var g errgroup.Group
	g.Go(func() error { f.receiveEDUs(ctx, origin, first); return nil })
	g.Go(func() error { results = f.receivePDUs(ctx, origin, pdus); return nil })
	_ = g.Wait()
	f.receiveEDUs(ctx, origin, rest)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("process transaction: %w", ctx.Err())
	}
	answer := results.json()
	err = f.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.AddTransactionAnswer(ctx, origin, txnID, answer, f.cfg.Clock.Now().UnixMilli())
	})
	if err != nil {
		return nil, fmt.Errorf("store transaction: %w", err)
	}
	return answer, nil
}

// edu is one EDU as it came.
type edu struct {
	kind    string
	content []byte
}

// parseTransaction takes the lists apart. What is wrong inside of one PDU or EDU is for later; lists that are too long make
// the whole transaction void (A3).
func parseTransaction(body []byte) (pdus [][]byte, edus []edu, err error) {
	err = canonical.Object(body, func(key string, value []byte) error {
		switch key {
		case "pdus":
			return canonical.Array(value, func(raw []byte) error {
				if pdus = append(pdus, raw); len(pdus) > maxPDUs {
					return mxerr.BadJSON("More than %d PDUs", maxPDUs)
				}
				return nil
			})
		case "edus":
			return canonical.Array(value, func(raw []byte) error {
				if edus = append(edus, parseEDU(raw)); len(edus) > maxEDUs {
					return mxerr.BadJSON("More than %d EDUs", maxEDUs)
				}
				return nil
			})
		}
		return nil
	})
	if _, refused := mxerr.As(err); err != nil && !refused {
		err = mxerr.NotJSON("Transaction is not valid JSON")
	}
	return pdus, edus, err
}

func parseEDU(raw []byte) edu {
	kind, _ := canonical.GetString(raw, "edu_type")
	content, ok := canonical.Get(raw, "content")
	if !ok || !canonical.IsObject(content) {
		return edu{}
	}
	return edu{kind, content}
}

// pduResult is what became of one PDU.
type pduResult struct {
	id  id.EventID
	why string // "" for success
}

type pduResults []pduResult

// json writes the answer. A PDU whose ID can not be told has no place in it.
func (r pduResults) json() []byte {
	out := []byte(`{"pdus":{`)
	n := 0
	seen := map[id.EventID]bool{}
	for _, result := range r {
		if result.id == "" || seen[result.id] {
			continue
		}
		seen[result.id] = true
		if n++; n > 1 {
			out = append(out, ',')
		}
		out = canonical.AppendString(out, result.id)
		out = append(out, ':')
		if result.why == "" {
			out = append(out, '{', '}')
			continue
		}
		out = append(out, `{"error":`...)
		out = canonical.AppendString(out, result.why)
		out = append(out, '}')
	}
	return append(out, '}', '}')
}

// received is a PDU on its way through the checks.
type received struct {
	pdu    *event.PDU
	result *pduResult
}

// receivePDUs checks PDUs and hands them to the engine: rooms in parallel, within a room in order. One bad PDU costs
// nobody but itself (A1, A2).
func (f *Federation) receivePDUs(ctx context.Context, origin id.ServerName, raws [][]byte) pduResults {
	results := make(pduResults, len(raws))
	var parsed []received
	rooms := map[id.RoomID]roomAccess{}
	for i, raw := range raws {
		pdu, err := f.admit(ctx, origin, raw, rooms)
		if pdu != nil {
			results[i].id = pdu.ID
		}
		if errors.Is(err, errNotHere) && pdu != nil {
			err = f.takenBack(ctx, origin, pdu)
			results[i].why = reason(err)
			continue
		}
		if err != nil {
			results[i].id, results[i].why = idOf(pdu, raw), reason(err)
			continue
		}
		parsed = append(parsed, received{pdu, &results[i]})
	}
	byRoom := f.verified(ctx, parsed)
	var g errgroup.Group
	g.SetLimit(8)
	for _, list := range byRoom {
		g.Go(func() error {
			f.receiveRoom(ctx, origin, list)
			return nil
		})
	}
	_ = g.Wait()
	return results
}

// roomAccess is asked for once per room and transaction.
type roomAccess struct {
	version *roomver.Version
	err     error
}

// admit does what can be done without keys: room known, server not excluded, format. The PDU may come back with an error,
// for its ID.
func (f *Federation) admit(ctx context.Context, origin id.ServerName, raw []byte, rooms map[id.RoomID]roomAccess) (*event.PDU, error) {
	text, ok := canonical.GetString(raw, "room_id")
	if !ok {
		return nil, errors.New("no room_id")
	}
	roomID, err := id.ParseRoomID(text)
	if err != nil {
		return nil, err
	}
	access, ok := rooms[roomID]
	if !ok {
		access = f.access(ctx, origin, roomID)
		rooms[roomID] = access
	}
	version := access.version
	if version == nil {
		return nil, access.err
	}
	pdu, err := event.Parse(raw, version)
	if access.err != nil {
		return pdu, access.err
	}
	return pdu, err
}

var (
	errNotHere = errors.New("not in that room")
	errACL     = errors.New("server is denied by the room's access control list")
)

func (f *Federation) access(ctx context.Context, origin id.ServerName, roomID id.RoomID) roomAccess {
	info, err := f.cfg.Rooms.Room(ctx, roomID)
	if err != nil && !errors.Is(err, room.ErrUnknownRoom) {
		return roomAccess{err: err}
	}
	if err != nil || !info.Here {
		// A room known by an invite only still has a version.
		name, err := f.cfg.Rooms.Version(ctx, roomID)
		if version, ok := roomver.Get(name); err == nil && ok {
			return roomAccess{version, errNotHere}
		}
		return roomAccess{err: errNotHere}
	}
	version, ok := roomver.Get(info.Version)
	if !ok {
		return roomAccess{err: errNotHere}
	}
	// SS v1.16 #server-access-control-lists-acls
	allowed, err := f.cfg.Rooms.ServerAllowed(ctx, roomID, origin)
	if err == nil && !allowed {
		err = errACL
	}
	return roomAccess{version, err}
}

// idOf names a PDU in the answer: by its parsed form, or by what it says of itself in room versions 1 and 2.
func idOf(pdu *event.PDU, raw []byte) id.EventID {
	if pdu != nil {
		return pdu.ID
	}
	text, _ := canonical.GetString(raw, "event_id")
	parsed, err := id.ParseEventID(text)
	if err != nil {
		return ""
	}
	return parsed
}

// reason is what the sender is told: refusals in their words, our own troubles without detail.
func reason(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := mxerr.As(err); ok {
		return e.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "out of time"
	}
	for _, told := range []error{event.ErrTooLarge, event.ErrMalformed, ErrSignature, errACL, errNotHere} {
		if errors.Is(err, told) {
			return told.Error()
		}
	}
	return "not accepted"
}

// verified checks signatures and hashes in batches and sorts what passed by room, in the order received.
func (f *Federation) verified(ctx context.Context, list []received) map[id.RoomID][]received {
	byRoom := map[id.RoomID][]received{}
	if len(list) == 0 {
		return byRoom
	}
	pdus := make([]*event.PDU, len(list))
	for i, r := range list {
		pdus[i] = r.pdu
	}
	for i, err := range f.Keys.VerifyPDUs(ctx, pdus) {
		if err != nil {
			list[i].result.why = reason(err)
			continue
		}
		list[i].pdu = asHashed(list[i].pdu)
		byRoom[list[i].pdu.RoomID] = append(byRoom[list[i].pdu.RoomID], list[i])
	}
	return byRoom
}

// maxGaps is how many events of one room and transaction make us fetch what they build on.
const maxGaps = 5

// receiveRoom hands verified events of one room to the engine, together; what an event builds on and we have not is
// fetched, then it and those after it are handed over again. A rejected event is no error. SS v1.16 #rejection
func (f *Federation) receiveRoom(ctx context.Context, origin id.ServerName, list []received) {
	defer f.late.more(list[0].pdu.RoomID)
	for gaps := 0; len(list) > 0; gaps++ {
		pdus := make([]*event.PDU, len(list))
		for i, r := range list {
			pdus[i] = r.pdu
		}
		receipts, err := f.cfg.Rooms.ReceiveAll(ctx, origin, pdus[0].RoomID, pdus)
		if err != nil {
			f.cfg.Log.Warn("events not received", "error", err)
			for _, r := range list {
				r.result.why = reason(err)
			}
			return
		}
		var waiting []received
		var first room.Receipt
		for i, receipt := range receipts {
			if receipt.Outcome == room.Deferred {
				if waiting = append(waiting, list[i]); len(waiting) == 1 {
					first = receipt
				}
			}
		}
		list = waiting
		if len(list) == 0 {
			return
		}
		if gaps == maxGaps {
			f.late.wait(origin, list, f.cfg.Clock.Now())
			return
		}
		// An event that can not be connected waits without an error in the answer: nothing is wrong with it.
		if err := f.fillGap(ctx, origin, list[0].pdu, first); errors.Is(err, errGap) {
			f.late.wait(origin, list[:1], f.cfg.Clock.Now())
		} else if err != nil {
			list[0].result.why = reason(err)
			f.cfg.Log.Warn("event not received", "error", err)
		}
		list = list[1:]
	}
}

// takenBack handles an event of a room we are not in: an invite of a user of ours is taken back, or a knock refused. The
// room's rules can not be checked here, so of an invite only the inviter is believed.
func (f *Federation) takenBack(ctx context.Context, origin id.ServerName, pdu *event.PDU) error {
	if pdu.Membership() != event.Leave && pdu.Membership() != event.Ban {
		return errNotHere
	}
	user, err := id.ParseUserID(*pdu.StateKey)
	if err != nil || user.Server() != f.cfg.Server {
		return errNotHere
	}
	listed, err := f.cfg.Rooms.UserRoom(ctx, user, pdu.RoomID)
	if errors.Is(err, room.ErrUnknownRoom) {
		return errNotHere
	}
	if err != nil {
		return err
	}
	if listed.Membership == event.Invite {
		inviter, err := f.memberSender(ctx, pdu.RoomID, user)
		if err != nil {
			return err
		}
		if inviter != pdu.Sender {
			return errNotHere
		}
	}
	if err := f.Keys.VerifyPDU(ctx, pdu); err != nil {
		return err
	}
	receipt, err := f.cfg.Rooms.Receive(ctx, origin, asHashed(pdu))
	if err == nil && receipt.Event == nil {
		err = errNotHere
	}
	return err
}

// runHousekeeping forgets old answers.
func (f *Federation) runHousekeeping(ctx context.Context) error {
	const keep, every = 24 * time.Hour, time.Hour
	timer := f.cfg.Clock.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
		}
		err := f.cfg.Store.Write(ctx, func(tx *store.Tx) error {
			return tx.ForgetTransactions(ctx, f.cfg.Clock.Now().Add(-keep).UnixMilli())
		})
		if err != nil && ctx.Err() == nil {
			f.cfg.Log.Error("forget old transactions", "error", err)
		}
		timer.Reset(every)
	}
}
