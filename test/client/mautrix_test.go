package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/attachment"
	"maunium.net/go/mautrix/crypto/backup"
	"maunium.net/go/mautrix/crypto/cryptohelper"
	"maunium.net/go/mautrix/crypto/verificationhelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"konsil/test/harness"
)

// patience is how long one waits for something that the other side has sent.
const patience = 30 * time.Second

// device is a session of a person with mautrix-go: it follows /sync and decrypts what comes.
type device struct {
	t        *testing.T
	client   *mautrix.Client
	machine  *crypto.OlmMachine
	verify   *verificationhelper.VerificationHelper
	sas      *sasEvents
	password string
	store    *crypto.MemoryStore

	messages chan *event.Event // those that could be decrypted, as they come
	invites  chan id.RoomID
	joined   chan id.UserID // other people's joins
}

// newDevice logs in and starts to follow /sync until the test ends.
func newDevice(t *testing.T, up *harness.Up, user string) *device {
	t.Helper()
	account := up.Account(t, user)
	base := up.Client(t, user).Base
	client, err := mautrix.NewClient(base, "", "")
	check(t, err, "make a client")
	client.Log = zerolog.Nop()
	d := &device{t: t, client: client, password: account.Password, store: crypto.NewMemoryStore(nil),
		messages: make(chan *event.Event, 100), invites: make(chan id.RoomID, 100), joined: make(chan id.UserID, 100)}
	_, err = client.Login(t.Context(), &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Password: account.Password, StoreCredentials: true,
		Identifier:               mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: user},
		InitialDeviceDisplayName: "mautrix-go",
	})
	check(t, err, "log in %s", user)
	client.StateStore = mautrix.NewMemoryStateStore()
	helper, err := cryptohelper.NewCryptoHelper(client, []byte("key"), d.store)
	check(t, err, "make a crypto helper")
	unreadable := &notes{}
	helper.DecryptErrorCallback = func(ev *event.Event, err error) { unreadable.add("%s cannot decrypt %s: %v", user, ev.ID, err) }
	t.Cleanup(func() { unreadable.show(t) })
	check(t, helper.Init(t.Context()), "publish the keys of a device of %s", user)
	client.Crypto, d.machine = helper, helper.Machine()
	d.listen()
	d.sas = newSASEvents()
	d.verify = verificationhelper.NewVerificationHelper(client, d.machine, nil, d.sas, false, false, true)
	check(t, d.verify.Init(t.Context()), "prepare verification")
	d.follow()
	return d
}

// listen puts what sync brings where the test waits for it.
func (d *device) listen() {
	syncer := d.client.Syncer.(*mautrix.DefaultSyncer)
	syncer.OnEvent(d.client.StateStoreSyncHandler) // without it mautrix does not know that a room is encrypted
	syncer.OnEventType(event.EventMessage, func(_ context.Context, ev *event.Event) {
		if ev.Mautrix.EventSource&event.SourceDecrypted != 0 {
			d.messages <- ev
		}
	})
	syncer.OnEventType(event.StateMember, func(_ context.Context, ev *event.Event) {
		switch content := ev.Content.AsMember(); {
		case content.Membership == event.MembershipInvite && ev.GetStateKey() == d.client.UserID.String():
			d.invites <- ev.RoomID
		case content.Membership == event.MembershipJoin && ev.GetStateKey() != d.client.UserID.String():
			d.joined <- id.UserID(ev.GetStateKey())
		}
	})
}

func (d *device) follow() {
	ctx, stop := context.WithCancel(d.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.client.SyncWithContext(ctx) }()
	d.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			d.t.Errorf("%s follows /sync: %v", d.client.UserID, err)
		}
	})
}

func check(t *testing.T, err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf(format+": %v", append(args, err)...)
	}
}

// await takes the next value from a channel that satisfies.
func await[T any](t *testing.T, from <-chan T, what string, satisfies func(T) bool) T {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case v := <-from:
			if satisfies(v) {
				return v
			}
		case <-late:
			t.Fatalf("no %s within %s", what, patience)
		}
	}
}

func (d *device) awaitText(text string) *event.Event {
	d.t.Helper()
	return await(d.t, d.messages, "message "+text+" for "+d.client.UserID.String(), func(ev *event.Event) bool { return ev.Content.AsMessage().Body == text })
}

func (d *device) send(room id.RoomID, text string) id.EventID {
	d.t.Helper()
	sent, err := d.client.SendMessageEvent(d.t.Context(), room, event.EventMessage, &event.MessageEventContent{MsgType: event.MsgText, Body: text})
	check(d.t, err, "%s sends %q", d.client.UserID, text)
	return sent.EventID
}

// TestMautrix is a consultation between two organisations with mautrix-go on both sides: cross-signing, emoji verification, Megolm
// messages and an encrypted file both ways, and a second device that reads the past from the key backup.
func TestMautrix(t *testing.T) {
	t.Parallel()
	up := harness.StartUp(t)
	a, c := newDevice(t, up, anna), newDevice(t, up, clara)
	recovery := a.publishCrossSigning()
	c.publishCrossSigning()
	room := encryptedRoom(t, a, c)
	verifyEachOther(t, up, a, c)

	said := a.send(room, "Darf ich Sie etwas fragen?")
	c.awaitText("Darf ich Sie etwas fragen?")
	wireIsEncrypted(t, up, clara, room, said)
	answered := c.send(room, "Gern.")
	a.awaitText("Gern.")

	exchangeFile(t, up, a, c, room)
	exchangeFile(t, up, c, a, room)

	key := a.backUp(recovery, room)
	second := secondDevice(t, up, recovery, room, key, []id.EventID{said, answered})

	// The other organisation learns of the new device and includes it, and the other way round.
	c.send(room, "for both of your devices")
	a.awaitText("for both of your devices")
	second.awaitText("for both of your devices")
	second.send(room, "from my second device")
	c.awaitText("from my second device")
	a.awaitText("from my second device")
}

// publishCrossSigning makes and uploads the keys, signs the device with them, and answers the recovery key.
func (d *device) publishCrossSigning() string {
	d.t.Helper()
	recovery, _, err := d.machine.GenerateAndUploadCrossSigningKeysWithPassword(d.t.Context(), d.password, "")
	check(d.t, err, "publish cross-signing keys of %s", d.client.UserID)
	check(d.t, d.machine.SignOwnDevice(d.t.Context(), d.machine.OwnIdentity()), "sign the device of %s", d.client.UserID)
	check(d.t, d.machine.SignOwnMasterKey(d.t.Context()), "sign the master key of %s", d.client.UserID)
	return recovery
}

func encryptedRoom(t *testing.T, host, guest *device) id.RoomID {
	t.Helper()
	created, err := host.client.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{
		Preset: "private_chat", Invite: []id.UserID{guest.client.UserID},
		InitialState: []*event.Event{{Type: event.StateEncryption, Content: event.Content{
			Parsed: &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}}}},
	})
	check(t, err, "create the room")
	await(t, guest.invites, "invitation", func(room id.RoomID) bool { return room == created.RoomID })
	_, err = guest.client.JoinRoomByID(t.Context(), created.RoomID)
	check(t, err, "join the room")
	await(t, host.joined, "join", func(user id.UserID) bool { return user == guest.client.UserID })
	await(t, guest.joined, "list of members", func(user id.UserID) bool { return user == host.client.UserID })
	return created.RoomID
}

// verifyEachOther compares emoji, and asks the servers afterwards for the signatures that come of it.
func verifyEachOther(t *testing.T, up *harness.Up, a, c *device) {
	t.Helper()
	txn, err := a.verify.StartVerification(t.Context(), c.client.UserID)
	check(t, err, "ask for verification")
	same := func(other id.VerificationTransactionID) bool { return other == txn }
	await(t, c.sas.requested, "request for verification", same)
	check(t, c.verify.AcceptVerification(t.Context(), txn), "accept verification")
	await(t, a.sas.ready, "readiness to verify", same)
	check(t, a.verify.StartSAS(t.Context(), txn), "start with emoji")
	hers := await(t, a.sas.shown, "emoji", func(e emoji) bool { return e.txn == txn })
	theirs := await(t, c.sas.shown, "emoji", func(e emoji) bool { return e.txn == txn })
	if len(hers.symbols) != 7 || !slices.Equal(hers.symbols, theirs.symbols) {
		t.Fatalf("emoji are %q and %q", hers.symbols, theirs.symbols)
	}
	check(t, a.verify.ConfirmSAS(t.Context(), txn), "confirm the emoji")
	check(t, c.verify.ConfirmSAS(t.Context(), txn), "confirm the emoji")
	await(t, a.sas.done, "end of the verification", same)
	await(t, c.sas.done, "end of the verification", same)
	for _, pair := range [][2]*device{{a, c}, {c, a}} {
		me, other := pair[0], pair[1]
		trusted, err := me.machine.IsUserTrusted(t.Context(), other.client.UserID)
		if err != nil || !trusted {
			t.Errorf("%s trusts %s: %t, %v", me.client.UserID, other.client.UserID, trusted, err)
		}
		serverKeepsSignature(t, up, me, other)
	}
}

// serverKeepsSignature asks for the other's master key and looks for our user-signing key's signature on it.
func serverKeepsSignature(t *testing.T, up *harness.Up, me, other *device) {
	t.Helper()
	var answer struct {
		Master map[id.UserID]struct {
			Signatures map[id.UserID]map[string]string `json:"signatures"`
		} `json:"master_keys"`
	}
	err := up.Client(t, me.client.UserID.String()).Call(t.Context(), "POST", "/_matrix/client/v3/keys/query",
		map[string]any{"device_keys": map[id.UserID][]string{other.client.UserID: {}}}, &answer)
	check(t, err, "query keys")
	own, err := me.machine.GetOwnCrossSigningPublicKeys(t.Context())
	check(t, err, "read own keys")
	if answer.Master[other.client.UserID].Signatures[me.client.UserID]["ed25519:"+own.UserSigningKey.String()] == "" {
		t.Errorf("the server of %s does not keep their signature of %s", me.client.UserID, other.client.UserID)
	}
}

// wireIsEncrypted looks at an event as the server has it.
func wireIsEncrypted(t *testing.T, up *harness.Up, reader string, room id.RoomID, ev id.EventID) {
	t.Helper()
	var raw harness.Event
	err := up.Client(t, reader).Call(t.Context(), "GET", "/_matrix/client/v3/rooms/"+room.String()+"/event/"+ev.String(), nil, &raw)
	check(t, err, "read the event")
	if raw.Type != event.EventEncrypted.Type || !bytes.Contains(raw.Content, []byte(id.AlgorithmMegolmV1)) || bytes.Contains(raw.Content, []byte("body")) {
		t.Errorf("the server has %s %s", raw.Type, raw.Content)
	}
}

// exchangeFile sends a file: encrypted, uploaded, its key in a message; the other downloads and decrypts it.
func exchangeFile(t *testing.T, up *harness.Up, from, to *device, room id.RoomID) {
	t.Helper()
	plain := make([]byte, 200_000)
	_, err := rand.Read(plain)
	check(t, err, "make a file")
	info := attachment.NewEncryptedFile()
	cipher := slices.Clone(plain)
	info.EncryptInPlace(cipher)
	uploaded, err := from.client.UploadBytes(t.Context(), cipher, "application/octet-stream")
	check(t, err, "upload")
	name := "befund von " + from.client.UserID.String()
	_, err = from.client.SendMessageEvent(t.Context(), room, event.EventMessage, &event.MessageEventContent{
		MsgType: event.MsgFile, Body: name, File: &event.EncryptedFileInfo{EncryptedFile: *info, URL: uploaded.ContentURI.CUString()}})
	check(t, err, "send the file")
	got := to.awaitText(name).Content.AsMessage().File
	uri, err := got.URL.Parse()
	check(t, err, "read the file's address")
	stored, err := to.client.DownloadBytes(t.Context(), uri)
	check(t, err, "download")
	if bytes.Contains(stored, plain[:64]) {
		t.Error("the file lies on the server in the clear")
	}
	if err := got.DecryptInPlace(stored); err != nil || !bytes.Equal(stored, plain) {
		t.Errorf("the file differs: %d bytes, %v", len(stored), err)
	}
}

// backUp makes a key backup, puts all sessions of the room into it, and its key into secret storage.
func (d *device) backUp(recovery string, room id.RoomID) *backup.MegolmBackupKey {
	d.t.Helper()
	ctx, t := d.t.Context(), d.t
	key, err := backup.NewMegolmBackupKey()
	check(t, err, "make a backup key")
	public := id.Ed25519(unpadded(key.PublicKey().Bytes()))
	version, err := d.client.CreateKeyBackupVersion(ctx, &mautrix.ReqRoomKeysVersionCreate[backup.MegolmAuthData]{
		Algorithm: id.KeyBackupAlgorithmMegolmBackupV1, AuthData: backup.MegolmAuthData{PublicKey: public}})
	check(t, err, "make a backup")
	sessions, err := d.store.GetGroupSessionsForRoom(ctx, room).AsList()
	check(t, err, "list sessions")
	if len(sessions) < 2 {
		t.Fatalf("%d Megolm sessions, want those of both sides", len(sessions))
	}
	upload := mautrix.ReqRoomKeyBackup{Sessions: map[id.SessionID]mautrix.ReqKeyBackupData{}}
	for _, s := range sessions {
		exported, err := s.Internal.Export(s.Internal.FirstKnownIndex())
		check(t, err, "export a session")
		sealed, err := backup.EncryptSessionData(key, backup.MegolmSessionData{
			Algorithm: id.AlgorithmMegolmV1, SenderKey: s.SenderKey, SessionKey: string(exported),
			SenderClaimedKeys: backup.SenderClaimedKeys{Ed25519: s.SigningKey}})
		check(t, err, "encrypt a session")
		data, err := json.Marshal(sealed)
		check(t, err, "write a session")
		upload.Sessions[s.ID()] = mautrix.ReqKeyBackupData{FirstMessageIndex: int(s.Internal.FirstKnownIndex()), IsVerified: true, SessionData: data}
	}
	stored, err := d.client.PutKeysInBackup(ctx, version.Version, &mautrix.ReqKeyBackup{Rooms: map[id.RoomID]mautrix.ReqRoomKeyBackup{room: upload}})
	check(t, err, "upload to the backup")
	if stored.Count != len(sessions) {
		t.Errorf("the backup counts %d keys, want %d", stored.Count, len(sessions))
	}
	keyID, meta, err := d.machine.SSSS.GetDefaultKeyData(ctx)
	check(t, err, "find the key of the secret storage")
	secret, err := meta.VerifyRecoveryKey(keyID, recovery)
	check(t, err, "open the secret storage")
	check(t, d.machine.SSSS.SetEncryptedAccountData(ctx, event.AccountDataMegolmBackupKey, key.Bytes(), secret), "keep the backup key")
	return key
}

// secondDevice logs anna in anew. What was said before is unreadable to it; with the recovery key it verifies itself, fetches
// the backup and reads on.
func secondDevice(t *testing.T, up *harness.Up, recovery string, room id.RoomID, want *backup.MegolmBackupKey, said []id.EventID) *device {
	t.Helper()
	d := newDevice(t, up, anna)
	await(t, d.joined, "the room in sync", func(user id.UserID) bool { return user == clara })
	for _, ev := range said {
		if _, err := d.read(room, ev); !errors.Is(err, crypto.ErrNoSessionFound) {
			t.Errorf("without the backup %s reads: %v", ev, err)
		}
	}
	check(t, d.machine.VerifyWithRecoveryKey(t.Context(), recovery), "verify the second device")
	keyID, meta, err := d.machine.SSSS.GetDefaultKeyData(t.Context())
	check(t, err, "find the key of the secret storage")
	secret, err := meta.VerifyRecoveryKey(keyID, recovery)
	check(t, err, "open the secret storage")
	raw, err := d.machine.SSSS.GetDecryptedAccountData(t.Context(), event.AccountDataMegolmBackupKey, secret)
	check(t, err, "read the backup key")
	key, err := backup.MegolmBackupKeyFromBytes(raw)
	check(t, err, "read the backup key")
	if !key.Equal(want.PrivateKey) {
		t.Error("the backup key in the secret storage is another one")
	}
	_, err = d.machine.DownloadAndStoreLatestKeyBackup(t.Context(), key)
	check(t, err, "restore the backup")
	for _, ev := range said {
		body, err := d.read(room, ev)
		if err != nil || body == "" {
			t.Errorf("with the backup %s reads %q: %v", ev, body, err)
		}
	}
	return d
}

// read fetches an event and decrypts it.
func (d *device) read(room id.RoomID, ev id.EventID) (string, error) {
	raw, err := d.client.GetEvent(d.t.Context(), room, ev)
	if err != nil {
		return "", err
	}
	raw.Type.Class = event.MessageEventType
	if err := raw.Content.ParseRaw(raw.Type); err != nil {
		return "", err
	}
	raw.RoomID = room
	decrypted, err := d.machine.DecryptMegolmEvent(d.t.Context(), raw)
	if err != nil {
		return "", err
	}
	return decrypted.Content.AsMessage().Body, nil
}

// notes are lines for who looks into a failed test. Goroutines of the library may still write them when it is over.
type notes struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) show(t *testing.T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.Failed() {
		t.Log(strings.Join(n.lines, "\n"))
	}
}

// sasEvents is what mautrix-go calls during a verification.
type sasEvents struct {
	requested, ready, done chan id.VerificationTransactionID
	shown                  chan emoji
}

type emoji struct {
	txn     id.VerificationTransactionID
	symbols []rune
}

func newSASEvents() *sasEvents {
	list := func() chan id.VerificationTransactionID { return make(chan id.VerificationTransactionID, 10) }
	return &sasEvents{requested: list(), ready: list(), done: list(), shown: make(chan emoji, 10)}
}

// VerificationRequested notes that the other side asks.
func (s *sasEvents) VerificationRequested(_ context.Context, txn id.VerificationTransactionID, _ id.UserID, _ id.DeviceID) {
	s.requested <- txn
}

// VerificationReady notes that both may begin.
func (s *sasEvents) VerificationReady(_ context.Context, txn id.VerificationTransactionID, _ id.DeviceID, _, _ bool, _ *verificationhelper.QRCode) {
	s.ready <- txn
}

// VerificationCancelled leaves the test waiting, and failing, for the step that does not come.
func (s *sasEvents) VerificationCancelled(context.Context, id.VerificationTransactionID, event.VerificationCancelCode, string) {
}

// VerificationDone notes the end.
func (s *sasEvents) VerificationDone(_ context.Context, txn id.VerificationTransactionID, _ event.VerificationMethod) {
	s.done <- txn
}

// ShowSAS notes what people compare.
func (s *sasEvents) ShowSAS(_ context.Context, txn id.VerificationTransactionID, symbols []rune, _ []string, _ []int) {
	s.shown <- emoji{txn, symbols}
}
