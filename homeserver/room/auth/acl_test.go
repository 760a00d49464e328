package auth_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"konsil/homeserver/room/auth"
	"konsil/matrix/id"
)

func TestServerACL(t *testing.T) {
	for _, c := range []struct {
		content string
		allowed string
		denied  string
	}{
		{`{"allow":["*"]}`, "a.org a.org:8448 1.2.3.4 [::1]:80", ""},
		{`{}`, "", "a.org 1.2.3.4"},
		{`{"allow":"*"}`, "", "a.org"},
		{`{"allow":["*"],"allow_ip_literals":false}`, "a.org 1.2.3.4.org", "1.2.3.4 1.2.3.4:8448 [::1] [::1]:8448"},
		{`{"allow":["*"],"allow_ip_literals":"false"}`, "1.2.3.4", ""},
		{`{"allow":["*"],"deny":["evil.org"]}`, "good.org x.evil.org evil.org.uk", "evil.org evil.org:1 evil.org:8448"},
		{`{"allow":["*"],"deny":["*.evil.org"]}`, "evil.org notevil.org", "x.evil.org y.x.evil.org:8448"},
		{`{"allow":["*"],"deny":["*evil.org","ev?l.net","a*b*c.org"]}`, "evl.net evill.net acb.org", "evil.org notevil.org evil.net abc.org axxbyyc.org"},
		{`{"allow":["good.org","*.good.org"],"deny":["bad.good.org"]}`, "good.org x.good.org", "bad.good.org other.org"},
		{`{"allow":["?.org"]}`, "a.org", "ab.org .org"},
		{`{"allow":[7,null,"a.org"],"deny":[{}]}`, "a.org", "b.org"},
		{`[]`, "", "a.org"},
	} {
		acl := auth.ParseServerACL([]byte(c.content))
		for server := range strings.FieldsSeq(c.allowed) {
			if !acl.Allows(id.ServerName(server)) {
				t.Errorf("%s keeps out %s", c.content, server)
			}
		}
		for server := range strings.FieldsSeq(c.denied) {
			if acl.Allows(id.ServerName(server)) {
				t.Errorf("%s lets in %s", c.content, server)
			}
		}
	}
	var none *auth.ServerACL
	if !none.Allows("a.org") {
		t.Error("a room without ACL keeps somebody out")
	}
}

// TestA17CaseDoesNotCount: MSC4436, CVE-2023-45129.
func TestA17CaseDoesNotCount(t *testing.T) {
	acl := auth.ParseServerACL([]byte(`{"allow":["*"],"deny":["EVIL.org","*.Bad.ORG","w?RSE.*"]}`))
	for _, server := range []id.ServerName{"evil.org", "Evil.Org:8448", "x.BAD.org", "worse.NET"} {
		if acl.Allows(server) {
			t.Errorf("lets in %s", server)
		}
	}
}

// TestA17ManyGlobs: a list beyond the cap keeps everybody out, at once.
func TestA17ManyGlobs(t *testing.T) {
	deny := make([]string, 10000)
	for i := range deny {
		deny[i] = fmt.Sprintf("x%d*.org", i)
	}
	raw, _ := json.Marshal(map[string]any{"allow": []string{"*"}, "deny": deny})
	if acl := auth.ParseServerACL(raw); !acl.Allows("a.org") || acl.Allows("x77z.org") {
		t.Error("ten thousand patterns do not work")
	}
	million := `{"allow":["*"],"deny":["x"` + strings.Repeat(`,"x"`, 1000000) + `]}`
	if auth.ParseServerACL([]byte(million)).Allows("a.org") {
		t.Error("a million patterns let somebody in")
	}
}

// TestA17CatastrophicPatterns counts steps by the size of what is matched: a matcher that backtracks through all stars would
// not come back.
func TestA17CatastrophicPatterns(t *testing.T) {
	pattern := strings.Repeat("*a", 100) + "*b"
	host := strings.Repeat("a", 250)
	raw, _ := json.Marshal(map[string]any{"allow": []string{pattern, strings.Repeat("*", 60000), strings.Repeat("*?", 120) + "c"}, "deny": []string{strings.Repeat("a*", 120) + "b"}})
	acl := auth.ParseServerACL(raw)
	if !acl.Allows(id.ServerName(host)) {
		t.Error("only stars match anything")
	}
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// Patterns that are looked up match as those that are walked.
func FuzzServerACL(f *testing.F) {
	f.Add(`{"allow":["*"],"deny":["*.evil.org","evil.org"]}`, "x.evil.org")
	f.Add(`{"allow":["*.*","**.a","?"],"deny":7}`, "a.a")
	f.Add(`{"allow":[["*"]],"allow_ip_literals":null}`, "[::1]:80")
	f.Fuzz(func(t *testing.T, content, server string) {
		acl := auth.ParseServerACL([]byte(content))
		if acl.Allows(id.ServerName(server)) != acl.Allows(id.ServerName(strings.ToUpper(server))) && ascii(server) {
			t.Error("case counts")
		}
		raw, err := json.Marshal(map[string]any{"allow": []string{server}})
		if err != nil || len(server) > 255 || server == "" || strings.ContainsAny(server, "*?:[]\\\ufffd") {
			return
		}
		if !auth.ParseServerACL(raw).Allows(id.ServerName(server)) {
			t.Errorf("%q does not match itself", server)
		}
	})
}
