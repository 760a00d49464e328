package auth

import (
	"konsil/matrix/event"
)

// MayRedact decides if a redaction, itself an allowed event, is to be carried out on its target. levels are those of the
// room before the redaction. RV 3 #handling-redactions, RV 1 rule 11
func MayRedact(redaction, target *event.PDU, levels *PowerLevels) error {
	v := redaction.Version
	if target.RoomID != redaction.RoomID {
		return refuse("redaction", "the target is in another room")
	}
	if levels.UserLevel(redaction.Sender) >= levels.Redact() {
		return nil
	}
	if v.RedactionAuth {
		if redaction.ID.Server() == target.ID.Server() {
			return nil
		}
		return refuse("11.3", "sender may not redact events of other servers")
	}
	if redaction.Sender.Server() == target.Sender.Server() {
		return nil
	}
	return refuse("redaction", "sender may not redact events of other servers")
}

// redactionV1 decides over a redaction as an event, when redactions still were a matter of authorisation. RV 1 rule 11
func redactionV1(ev *event.PDU, levels *PowerLevels, sender int64) *Refusal {
	if sender >= levels.Redact() || ev.Redacts != "" && ev.Redacts.Server() == ev.ID.Server() {
		return nil
	}
	return refuse("11.3", "sender may not redact events of other servers")
}
