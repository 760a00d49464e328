package auth

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// CreatorLevel is the level of a creator from version 12 on: above every level that an event can give.
const CreatorLevel int64 = math.MaxInt64

// maxLevel is the highest level of anybody else. Before version 6 levels could be any number, even one with 300 digits;
// they all count as this one.
const maxLevel int64 = math.MaxInt64 - 1

// PowerLevels is an m.room.power_levels event, parsed. A room without the event has levels too: LevelsOf.
// CS v1.16 #mroompower_levels
type PowerLevels struct {
	create        *Create
	named         [namedLevels]int64
	given         [namedLevels]bool // which of named stand in the event, the others hold their default
	users         map[id.UserID]int64
	events        map[string]int64
	notifications map[string]int64
}

// The levels that have a name of their own, in the order of RV 11 rule 9.5.
const (
	usersDefault = iota
	eventsDefault
	stateDefault
	banLevel
	redactLevel
	kickLevel
	inviteLevel
	namedLevels
)

var levelDefaults = [namedLevels]int64{stateDefault: 50, banLevel: 50, redactLevel: 50, kickLevel: 50}

func levelIndex(key string) (int, bool) {
	switch key {
	case "users_default":
		return usersDefault, true
	case "events_default":
		return eventsDefault, true
	case "state_default":
		return stateDefault, true
	case "ban":
		return banLevel, true
	case "redact":
		return redactLevel, true
	case "kick":
		return kickLevel, true
	case "invite":
		return inviteLevel, true
	}
	return 0, false
}

// notificationLevel is needed to notify the whole room if the event says nothing. CS v1.16 #mroompower_levels
const notificationLevel = 50

// LevelsOf are the levels that hold in a room: those of the event, or the defaults if pl is nil.
func LevelsOf(create *Create, pl *PowerLevels) *PowerLevels {
	switch {
	case pl != nil:
		return pl
	case create.defaults != nil:
		return create.defaults
	}
	return defaultLevels(create)
}

// defaultLevels are those of a room without the event. CS v1.16 #mroompower_levels
func defaultLevels(create *Create) *PowerLevels {
	pl := &PowerLevels{create: create, named: levelDefaults}
	if !create.Version.PrivilegedCreators && len(create.Creators) > 0 {
		pl.users = map[id.UserID]int64{create.Creators[0]: 100}
	}
	return pl
}

// closedLevels let nobody but creators do anything. They stand for an event that can not be read although it was
// accepted, which the rules exclude.
func closedLevels(create *Create) *PowerLevels {
	pl := &PowerLevels{create: create}
	for i := range pl.named {
		pl.named[i] = CreatorLevel
	}
	pl.named[usersDefault] = 0
	return pl
}

// UserLevel is a user's power.
func (pl *PowerLevels) UserLevel(user id.UserID) int64 {
	if pl.create.IsCreator(user) {
		return CreatorLevel
	}
	if level, ok := pl.users[user]; ok {
		return level
	}
	return pl.named[usersDefault]
}

// EventLevel is needed to send a message event of a type.
func (pl *PowerLevels) EventLevel(eventType string) int64 {
	if level, ok := pl.events[eventType]; ok {
		return level
	}
	return pl.named[eventsDefault]
}

// StateLevel is needed to send a state event of a type.
func (pl *PowerLevels) StateLevel(eventType string) int64 {
	if level, ok := pl.events[eventType]; ok {
		return level
	}
	return pl.named[stateDefault]
}

// Invite is the invite level.
func (pl *PowerLevels) Invite() int64 { return pl.named[inviteLevel] }

// Kick is the kick level.
func (pl *PowerLevels) Kick() int64 { return pl.named[kickLevel] }

// Ban is the ban level.
func (pl *PowerLevels) Ban() int64 { return pl.named[banLevel] }

// Redact is the level needed to redact events of other servers' users.
func (pl *PowerLevels) Redact() int64 { return pl.named[redactLevel] }

// UsersDefault is the level of users that the event does not name.
func (pl *PowerLevels) UsersDefault() int64 { return pl.named[usersDefault] }

// Notification is needed for a notification of a kind, like "room" for mentions of the whole room.
func (pl *PowerLevels) Notification(kind string) int64 {
	if level, ok := pl.notifications[kind]; ok {
		return level
	}
	return notificationLevel
}

// Users calls f for each user that the event names, creators of version 12 apart.
func (pl *PowerLevels) Users(f func(user id.UserID, level int64)) {
	for user, level := range pl.users {
		f(user, level)
	}
}

// ParsePowerLevels reads the content of an m.room.power_levels event in one pass. The error is a *Refusal with the rule
// of the version that the content breaks. RV 1 rule 10.1, RV 10 rules 9.1 to 9.3
func ParsePowerLevels(v *roomver.Version, content []byte, create *Create) (*PowerLevels, error) {
	pl, r := parseLevels(v, content, create)
	if r != nil {
		return nil, r
	}
	return pl, nil
}

func parseLevels(v *roomver.Version, content []byte, create *Create) (*PowerLevels, *Refusal) {
	n := numbersOf(v)
	pl := &PowerLevels{create: create, named: levelDefaults}
	var refusal *Refusal
	err := canonical.Object(content, func(key string, value []byte) error {
		if i, ok := levelIndex(key); ok {
			level, ok := parseLevel(v, value)
			if !ok {
				refusal = refuse(n.plIntegers, key+" is no power level")
				return errStop
			}
			pl.named[i], pl.given[i] = level, true
			return nil
		}
		ok := true
		switch key {
		case "users":
			if pl.users, ok = levelMap[id.UserID](v, value); !ok {
				refusal = refuse(n.plUsers, "users is no map to power levels")
			}
		case "events":
			if pl.events, ok = levelMap[string](v, value); !ok {
				refusal = refuse(n.plMaps, "events is no map to power levels")
			}
		case "notifications":
			// Before version 6 nothing looks at them, so anything goes. RV 6 rule 9.4
			if pl.notifications, ok = levelMap[string](v, value); !ok && v.NotificationsAuth {
				refusal = refuse(n.plMaps, "notifications is no map to power levels")
			}
		}
		if refusal != nil {
			return errStop
		}
		return nil
	})
	if err != nil && refusal == nil {
		refusal = refuse(n.plIntegers, "the content is no object")
	}
	return pl, refusal
}

// errStop ends the walk through an object; what was wrong is noted elsewhere.
var errStop = errors.New("stop")

func levelMap[K ~string](v *roomver.Version, value []byte) (map[K]int64, bool) {
	m := make(map[K]int64, min(len(value)/32, 4096)) // about as many as there are
	err := canonical.Object(value, func(key string, value []byte) error {
		level, ok := parseLevel(v, value)
		if !ok {
			return errStop
		}
		m[K(key)] = level
		return nil
	})
	return m, err == nil
}

// parseLevel reads one level. From version 10 on it is an integer. Before, it may be a string with an integer, and
// before version 6 also a fraction, which is cut. RV 9 and RV 5 #deprecated-event-content-schemas
func parseLevel(v *roomver.Version, value []byte) (int64, bool) {
	if level, ok := canonical.Int(value); ok {
		return clampLevel(level), true
	}
	if v.IntegerPowerLevels || len(value) == 0 {
		return 0, false
	}
	if canonical.IsString(value) {
		s, ok := canonical.String(value)
		if !ok {
			return 0, false
		}
		return stringLevel(s)
	}
	if c := value[0]; v.StrictJSON || c != '-' && (c < '0' || c > '9') {
		return 0, false // null, true, an object: strconv would know "nan" and "inf"
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return 0, false // outside what a double holds
	}
	switch {
	case f >= float64(maxLevel):
		return maxLevel, true
	case f <= -float64(maxLevel):
		return -maxLevel, true
	}
	return int64(f), true
}

// stringLevel reads an integer with white space around it, a sign before it, and any number of zeros.
func stringLevel(s string) (int64, bool) {
	s = strings.TrimFunc(s, unicode.IsSpace)
	digits := s
	if s != "" && (s[0] == '+' || s[0] == '-') {
		digits = s[1:]
	}
	if digits == "" {
		return 0, false
	}
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
	}
	level, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // all that is left is a number too long, for which ParseInt gives the nearest
		return clampLevel(level), errors.Is(err, strconv.ErrRange)
	}
	return clampLevel(level), true
}

func clampLevel(level int64) int64 { return min(max(level, -maxLevel), maxLevel) }

// changeLevels applies the rules for m.room.power_levels; old is nil if the room has none yet, sender is the sender's
// level. RV 1 rule 10, RV 6 to 11 rule 9, RV 12 rule 10
func changeLevels(ev *event.PDU, create *Create, old *PowerLevels, sender int64) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	pl, r := parseLevels(v, ev.Content, create)
	if r != nil {
		return r
	}
	for user := range pl.users {
		if _, err := id.ParseUserID(string(user)); err != nil {
			return refuse(n.plUsers, "users names what is no user ID")
		}
	}
	if v.PrivilegedCreators { // RV 12 rule 10.4
		for _, creator := range create.Creators {
			if _, found := pl.users[creator]; found {
				return refuse(n.plCreators, "users names a creator")
			}
		}
	}
	if old == nil {
		return nil
	}
	if r := changeNamed(n, old, pl, sender); r != nil { // RV 11 rule 9.5
		return r
	}
	if differs(old.events, pl.events, sender) || // RV 11 rule 9.6
		v.NotificationsAuth && differs(old.notifications, pl.notifications, sender) {
		return refuse(n.plOld+".1", "an entry above the sender's power level was changed")
	}
	if differs(pl.events, old.events, sender) || // RV 11 rule 9.7
		v.NotificationsAuth && differs(pl.notifications, old.notifications, sender) {
		return refuse(n.plNew+".1", "an entry was raised above the sender's power level")
	}
	return changeUsers(n, ev.Sender, old, pl, sender)
}

func changeNamed(n *numbers, old, pl *PowerLevels, sender int64) *Refusal {
	for i := range old.named {
		if old.given[i] == pl.given[i] && old.named[i] == pl.named[i] {
			continue
		}
		if old.given[i] && old.named[i] > sender {
			return refuse(n.plNamed+".1", "a level above the sender's was changed")
		}
		if pl.given[i] && pl.named[i] > sender {
			return refuse(n.plNamed+".2", "a level was raised above the sender's")
		}
	}
	return nil
}

// differs reports whether a has an entry above the sender's level that is missing from b or different there.
func differs(a, b map[string]int64, sender int64) bool {
	for key, level := range a {
		if other, found := b[key]; level > sender && (!found || other != level) {
			return true
		}
	}
	return false
}

// changeUsers: RV 1 rules 10.6 and 10.7, RV 10 rules 9.8 and 9.9, RV 12 rules 10.9 and 10.10
func changeUsers(n *numbers, self id.UserID, old, pl *PowerLevels, sender int64) *Refusal {
	for user, was := range old.users {
		if is, found := pl.users[user]; found && is == was || user == self {
			continue
		}
		if was >= sender {
			return refuse(n.plUserOld+".1", "a user with at least the sender's power level was changed")
		}
	}
	for user, is := range pl.users {
		if was, found := old.users[user]; found && is == was {
			continue
		}
		if is > sender {
			return refuse(n.plUserNew+".1", "a user was raised above the sender's power level")
		}
	}
	return nil
}
