package scenario_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"konsil/test/harness"
)

// The language of the scripts. A line holds commands, parted by ";". A command begins with a verb of the story or with a
// person's name. "; refused 403 M_FORBIDDEN" says how the command before it fails.

// arity is how many arguments a verb takes.
type arity struct {
	usage    string
	min, max int
}

func (a arity) call(verb string, args []string, do func([]string) error) error {
	if len(args) < a.min || len(args) > a.max {
		return fmt.Errorf("usage: %s %s", verb, a.usage)
	}
	return do(args)
}

type storyVerb struct {
	arity
	do func(s *story, args []string) error
}

type personVerb struct {
	arity
	do func(s *story, p *resident, args []string) error
}

const many = 99

var storyVerbs = map[string]storyVerb{
	"house": {arity{"up | serve NAME: start the program", 1, 2}, (*story).openHouse},
	"user":  {arity{"NAME LOCALPART@DOMAIN: with up one of its users, with serve a new one", 2, 2}, (*story).addUser},
	"kill":  {arity{"HOUSE: without warning", 1, 1}, (*story).kill},
	"stop":  {arity{"HOUSE: politely", 1, 1}, (*story).stop},
	"start": {arity{"HOUSE: again, on its old folder", 1, 1}, (*story).startAgain},
}

var personVerbs = map[string]personVerb{
	"create":  {arity{"ROOM [public|encrypted|knock|restricted ROOM|version N|invite NAME…]", 1, many}, (*story).create},
	"invite":  {arity{"NAME ROOM", 2, 2}, membership("invite")},
	"kick":    {arity{"NAME ROOM", 2, 2}, membership("kick")},
	"ban":     {arity{"NAME ROOM", 2, 2}, membership("ban")},
	"unban":   {arity{"NAME ROOM", 2, 2}, membership("unban")},
	"join":    {arity{"ROOM", 1, 1}, (*story).join},
	"knock":   {arity{"ROOM", 1, 1}, (*story).knock},
	"alias":   {arity{"ROOM #ALIAS: give the room a name", 2, 2}, (*story).alias},
	"follow":  {arity{"#ALIAS: join by the name", 1, 1}, (*story).follow},
	"upgrade": {arity{"ROOM VERSION NEW", 3, 3}, (*story).upgrade},
	"read":    {arity{"ROOM TEXT: send a receipt", 2, 2}, (*story).read},
	"type":    {arity{"ROOM", 1, 1}, (*story).typing},
	"leave":   {arity{"ROOM", 1, 1}, (*story).leave},
	"send":    {arity{"ROOM TEXT…", 2, many}, (*story).send},
	"redact":  {arity{"ROOM TEXT", 2, 2}, (*story).redact},
	"topic":   {arity{"ROOM TEXT", 2, 2}, (*story).topic},
	"file":    {arity{"ROOM NAME BYTES: upload and send", 3, 3}, (*story).file},
	"gets":    {arity{"ROOM NAME: download and compare", 2, 2}, (*story).gets},
	"sees":    {arity{"invite|removal|tombstone ROOM | topic ROOM TEXT | knock|typing ROOM NAME | receipt ROOM TEXT NAME | ROOM TEXT…", 2, many}, (*story).sees},
	"reads":   {arity{"ROOM TEXT…: these messages and no others, in this order", 1, many}, (*story).reads},
	"members": {arity{"ROOM NAME…: these are joined and no others", 1, many}, (*story).members},
	"login":   {arity{"a new session, with the password", 0, 0}, (*story).login},
}

func (s *story) openHouse(args []string) error {
	switch {
	case args[0] == "up" && len(args) == 1:
		up := harness.StartUp(s.t)
		s.houses["up"] = &house{
			process: func() *harness.Process { return up.Process },
			start:   func() { up.Restart(s.t) },
			base:    func(server string) string { return up.Domain(s.t, server).ClientAPI },
			account: func(user string) harness.Account { return up.Account(s.t, user) },
		}
	case args[0] == "serve" && len(args) == 2:
		server := s.network.Serve(s.t)
		s.houses[args[1]] = &house{
			process: func() *harness.Process { return server.Process },
			start:   func() { server.Restart(s.t) },
			base:    func(string) string { return server.ClientAPI },
		}
	default:
		return fmt.Errorf("house up, or house serve NAME")
	}
	return nil
}

func (s *story) addUser(args []string) error {
	localpart, server, ok := strings.Cut(args[1], "@")
	if !ok {
		return fmt.Errorf("%q: write LOCALPART@DOMAIN", args[1])
	}
	p := &resident{name: args[0], house: server, server: server, password: "a long enough password"}
	s.people[args[0]] = p
	h, own := s.houses[server]
	if !own {
		if h, own = s.houses["up"]; !own {
			return fmt.Errorf("no house serves %q", server)
		}
		p.house = "up"
		account := h.account("@" + localpart + ":" + server)
		p.password = account.Password
		p.Person = harness.NewPerson(harness.NewClient(h.base(server), account.ID, account.AccessToken))
	} else {
		p.Person = harness.NewPerson(harness.NewClient(h.base(server), "", ""))
		if err := p.Register(s.ctx, localpart, p.password); err != nil {
			return err
		}
	}
	return p.Sync(s.ctx, 0) // from here on they see what happens, also what is over soon
}

func (s *story) house(name string) (*house, error) {
	if h, ok := s.houses[name]; ok {
		return h, nil
	}
	return nil, fmt.Errorf("no house is called %q", name)
}

func (s *story) kill(args []string) error {
	h, err := s.house(args[0])
	if err != nil {
		return err
	}
	h.process().Kill()
	return nil
}

func (s *story) stop(args []string) error {
	h, err := s.house(args[0])
	if err != nil {
		return err
	}
	if exit := h.process().Terminate(s.t); exit.Code != 0 {
		return fmt.Errorf("stopped with code %d", exit.Code)
	}
	return nil
}

func (s *story) startAgain(args []string) error {
	h, err := s.house(args[0])
	if err != nil {
		return err
	}
	h.start()
	for _, p := range s.people {
		if p.house == args[0] {
			p.Base = h.base(p.server) // `up` picks new ports
		}
	}
	return nil
}

func (s *story) person(name string) (*resident, error) {
	if p, ok := s.people[name]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("nobody is called %q", name)
}

func (s *story) room(name string) (string, error) {
	if room, ok := s.rooms[name]; ok {
		return room, nil
	}
	return "", fmt.Errorf("no room is called %q", name)
}

// joinRule makes a piece of initial state. CS v1.16 #mroomjoin_rules
func joinRule(content map[string]any) any {
	return map[string]any{"type": "m.room.join_rules", "state_key": "", "content": content}
}

func (s *story) create(p *resident, args []string) error {
	body := map[string]any{"preset": "private_chat", "name": args[0]}
	var state []any
	for words := args[1:]; len(words) > 0; {
		word := words[0]
		words = words[1:]
		switch word {
		case "public":
			body["preset"] = "public_chat"
		case "encrypted":
			state = append(state, map[string]any{"type": "m.room.encryption", "state_key": "", "content": map[string]string{"algorithm": "m.megolm.v1.aes-sha2"}})
		case "knock":
			state = append(state, joinRule(map[string]any{"join_rule": "knock"}))
		case "restricted":
			other, err := s.room(words[0])
			if err != nil {
				return err
			}
			words = words[1:]
			state = append(state, joinRule(map[string]any{"join_rule": "restricted", "allow": []any{
				map[string]string{"type": "m.room_membership", "room_id": other}}}))
		case "version":
			body["room_version"] = words[0]
			words = words[1:]
		case "invite":
			var invited []string
			for _, name := range words {
				guest, err := s.person(name)
				if err != nil {
					return err
				}
				invited = append(invited, guest.User)
			}
			body["invite"], words = invited, nil
		default:
			return fmt.Errorf("a room cannot be %q", word)
		}
	}
	body["initial_state"] = state
	room, err := p.CreateRoom(s.ctx, body)
	if err == nil {
		s.rooms[args[0]] = room
	}
	return err
}

// membership makes the verbs that one person does to another.
func membership(verb string) func(*story, *resident, []string) error {
	return func(s *story, p *resident, args []string) error {
		other, err := s.person(args[0])
		if err != nil {
			return err
		}
		room, err := s.room(args[1])
		if err != nil {
			return err
		}
		return p.Membership(s.ctx, verb, room, other.User)
	}
}

// via is every server that has somebody in the story, as a link that one clicks on names them.
func (s *story) via(p *resident) []string {
	var via []string
	for _, other := range s.people {
		if _, server, _ := strings.Cut(other.User, ":"); !strings.HasSuffix(p.User, ":"+server) && !slices.Contains(via, server) {
			via = append(via, server)
		}
	}
	slices.Sort(via)
	return via
}

func (s *story) join(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	if err := p.Join(s.ctx, room, s.via(p)...); err != nil {
		return err
	}
	delete(p.Left, room) // what sync said before is over
	return nil
}

func (s *story) knock(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	return p.Knock(s.ctx, room, s.via(p)...)
}

// alias completes a name with the server of who gives it.
func (s *story) alias(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	_, server, _ := strings.Cut(p.User, ":")
	s.aliases[args[1]] = args[1] + ":" + server
	return p.Alias(s.ctx, room, s.aliases[args[1]])
}

func (s *story) follow(p *resident, args []string) error { return p.Join(s.ctx, s.aliases[args[0]]) }

func (s *story) upgrade(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	replacement, err := p.Upgrade(s.ctx, room, args[1])
	if err == nil {
		s.rooms[args[2]] = replacement
	}
	return err
}

func (s *story) read(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	return p.Read(s.ctx, room, s.events[args[1]])
}

func (s *story) typing(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	return p.Type(s.ctx, room)
}

func (s *story) leave(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	return p.Leave(s.ctx, room)
}

func (s *story) nextTxn() string {
	s.txn++
	return "story" + strconv.Itoa(s.txn)
}

func (s *story) send(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	for _, text := range args[1:] {
		event, err := p.Send(s.ctx, room, "m.room.message", s.nextTxn(), map[string]string{"msgtype": "m.text", "body": text})
		if err != nil {
			return err
		}
		s.events[text] = event
	}
	return nil
}

func (s *story) redact(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	event, ok := s.events[args[1]]
	if !ok {
		return fmt.Errorf("nobody has sent %q", args[1])
	}
	_, err = p.Redact(s.ctx, room, event, s.nextTxn())
	return err
}

func (s *story) topic(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	_, err = p.SetState(s.ctx, room, "m.room.topic", "", map[string]string{"topic": args[1]})
	return err
}

func (s *story) file(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	data := noise(args[1], size)
	uri, err := p.Upload(s.ctx, args[1], "application/pdf", data)
	if err != nil {
		return err
	}
	s.files[args[1]] = data
	_, err = p.Send(s.ctx, room, "m.room.message", s.nextTxn(), map[string]any{
		"msgtype": "m.file", "body": args[1], "url": uri, "info": map[string]any{"size": size, "mimetype": "application/pdf"}})
	return err
}

// noise is a file's content: the same for the same name.
func noise(name string, size int) []byte {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	source := rand.New(rand.NewPCG(hash.Sum64(), 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(source.Uint32())
	}
	return data
}

func (s *story) gets(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	ev, err := p.Sees(s.ctx, room, args[1])
	if err != nil {
		return err
	}
	data, header, err := p.Download(s.ctx, ev.Message().URL)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, s.files[args[1]]) {
		return fmt.Errorf("got %d bytes that differ from the %d sent", len(data), len(s.files[args[1]]))
	}
	if got := header.Get("Content-Type"); got != "application/pdf" {
		return fmt.Errorf("got it as %q", got)
	}
	if got := header.Get("Content-Disposition"); !strings.Contains(got, args[1]) {
		return fmt.Errorf("got it as %q, without its name", got)
	}
	return nil
}

// reads waits until the last text is there, then asks /messages for all of them.
func (s *story) reads(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	if len(args) > 1 {
		if _, err := p.Sees(s.ctx, room, args[len(args)-1]); err != nil {
			return err
		}
	}
	history, err := p.History(s.ctx, room)
	if err != nil {
		return err
	}
	var texts []string
	for _, ev := range history {
		if body := ev.Message().Body; body != "" {
			texts = append(texts, body)
		}
	}
	if !slices.Equal(texts, args[1:]) {
		return fmt.Errorf("reads %q", texts)
	}
	return nil
}

// members waits until the list is as it should be: a change by another server takes a moment.
func (s *story) members(p *resident, args []string) error {
	room, err := s.room(args[0])
	if err != nil {
		return err
	}
	var want []string
	for _, name := range args[1:] {
		other, err := s.person(name)
		if err != nil {
			return err
		}
		want = append(want, other.User)
	}
	slices.Sort(want)
	var joined []string
	var failed error
	err = p.Until(s.ctx, "these members", func() bool {
		joined, failed = s.joined(s.ctx, p, room)
		return failed != nil || slices.Equal(joined, want)
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("%w: joined are %v", err, joined)
	}
	return nil
}

func (s *story) joined(ctx context.Context, p *resident, room string) ([]string, error) {
	members, err := p.Members(ctx, room)
	if err != nil {
		return nil, err
	}
	var joined []string
	for user, m := range members {
		if m == "join" {
			joined = append(joined, user)
		}
	}
	slices.Sort(joined)
	return joined, nil
}

func (s *story) login(p *resident, _ []string) error {
	return p.Login(s.ctx, p.User, p.password)
}
