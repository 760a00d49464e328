package preview

import (
	"html"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// page is what a preview is made of: the OpenGraph properties of an HTML page, and what else its head says.
type page struct {
	graph       map[string]string // og:… and, where these are missing, what stands for them
	title       string            // of <title>
	description string            // of <meta name="description">
}

// Bounds of what is read from a page.
const (
	maxProperties = 50
	maxProperty   = 200  // characters of a value that is shown
	maxURLValue   = 2000 // bytes of a value that is an address
	maxTags       = 5000 // a head has some hundred at most
)

// parsePage reads the head of an HTML page. It builds no tree, so nesting costs nothing (B4): tags are looked at one after the
// other, and what is no meta or title is passed over.
func parsePage(src []byte, contentType string) page {
	text := decode(src, contentType)
	p := page{graph: map[string]string{}}
	for range maxTags {
		start := strings.IndexByte(text, '<')
		if start < 0 {
			break
		}
		text = text[start+1:]
		if after, ok := strings.CutPrefix(text, "!--"); ok {
			_, text, _ = strings.Cut(after, "-->")
			continue
		}
		var name string
		var attrs map[string]string
		name, attrs, text = readTag(text)
		switch name {
		case "body", "/head":
			return p
		case "meta":
			p.meta(attrs)
		case "title":
			var title string
			title, text, _ = strings.Cut(text, "</")
			if p.title == "" {
				p.title = clean(html.UnescapeString(title), maxProperty)
			}
		case "script", "style", "noscript", "template":
			_, text, _ = cutFold(text, "</"+name)
		}
	}
	return p
}

// meta takes one meta element. Some pages say name where OpenGraph wants property, and the other way round.
func (p *page) meta(attrs map[string]string) {
	name := strings.ToLower(attrs["property"])
	if name == "" {
		name = strings.ToLower(attrs["name"])
	}
	value := attrs["content"]
	switch {
	case name == "description" && p.description == "":
		p.description = clean(value, maxProperty)
	case strings.HasPrefix(name, "og:") && len(name) <= 64 && len(p.graph) < maxProperties:
		if _, known := p.graph[name]; known {
			return // the first of several is the main one
		}
		if isAddress(name) {
			if value = strings.TrimSpace(value); len(value) > maxURLValue || !utf8.ValidString(value) {
				return
			}
		} else {
			value = clean(value, maxProperty)
		}
		if value != "" {
			p.graph[name] = value
		}
	}
}

func isAddress(property string) bool {
	return property == "og:url" || property == "og:image" || strings.HasSuffix(property, ":url") || strings.HasSuffix(property, ":secure_url")
}

// readTag reads a tag behind its "<", and gives its lower-case name, its attributes, and what follows it. Attributes are read of
// meta elements only.
func readTag(text string) (name string, attrs map[string]string, rest string) {
	end := strings.IndexAny(text, " \t\r\n\f/>")
	if strings.HasPrefix(text, "/") {
		if end = strings.IndexAny(text[1:], " \t\r\n\f/>"); end >= 0 {
			end++
		}
	}
	if end < 0 {
		return "", nil, ""
	}
	name = strings.ToLower(text[:min(end, 32)])
	text = text[end:]
	if name == "meta" {
		attrs = map[string]string{}
	}
	for {
		text = strings.TrimLeft(text, " \t\r\n\f/")
		if text == "" {
			return name, attrs, ""
		}
		if text[0] == '>' {
			return name, attrs, text[1:]
		}
		var key, value string
		key, value, text = readAttribute(text)
		if _, known := attrs[key]; attrs != nil && !known && len(attrs) < 16 {
			attrs[key] = html.UnescapeString(value)
		}
	}
}

// readAttribute reads key="value", key='value', key=value or key. text is not empty and does not begin with a space.
func readAttribute(text string) (key, value, rest string) {
	end := strings.IndexAny(text[1:], " \t\r\n\f/>=") // a name may even begin with "=": then that is part of it
	if end < 0 {
		return strings.ToLower(text), "", ""
	}
	key, text = strings.ToLower(text[:end+1]), strings.TrimLeft(text[end+1:], " \t\r\n\f")
	if text == "" || text[0] != '=' {
		return key, "", text
	}
	text = strings.TrimLeft(text[1:], " \t\r\n\f")
	if text == "" {
		return key, "", ""
	}
	if quote := text[0]; quote == '"' || quote == '\'' {
		value, text, _ = strings.Cut(text[1:], string(quote))
		return key, value, text
	}
	end = strings.IndexAny(text, " \t\r\n\f>")
	if end < 0 {
		return key, text, ""
	}
	return key, text[:end], text[end:]
}

// cutFold is strings.Cut for a separator in lower case, whatever the case in the text.
func cutFold(text, sep string) (before, after string, found bool) {
	for i := 0; ; {
		at := strings.IndexByte(text[i:], sep[0])
		if at < 0 {
			return text, "", false
		}
		i += at
		if len(text)-i >= len(sep) && strings.EqualFold(text[i:i+len(sep)], sep) {
			return text[:i], text[i+len(sep):], true
		}
		i++
	}
}

// clean makes a line of text that can be shown: valid, without control characters and runs of spaces, not too long.
func clean(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1 // controls, also those that turn the direction of what follows
		}
		return r
	}, text)
	for i := range text {
		if limit--; limit < 0 {
			return text[:i] + "…"
		}
	}
	return text
}

// decode makes text of a page's bytes. Of the old character sets only the western ones are known; of others the ASCII part is
// left.
func decode(src []byte, contentType string) string {
	set := charset(contentType)
	if set == "" {
		set = charset(strings.ToLower(string(src[:min(len(src), 1024)]))) // a meta element at the beginning
	}
	switch set {
	case "iso-8859-1", "latin1", "windows-1252", "us-ascii", "ascii", "iso-8859-15":
		if !utf8.Valid(src) { // many say so who write UTF-8
			if text, err := charmap.Windows1252.NewDecoder().Bytes(src); err == nil {
				src = text
			}
		}
	}
	return strings.ToValidUTF8(string(src), "")
}

// charset finds the name behind the first charset= of a text.
func charset(text string) string {
	_, name, found := strings.Cut(strings.ToLower(text), "charset=")
	if !found {
		return ""
	}
	name = strings.TrimLeft(name, `"' `)
	if end := strings.IndexAny(name, `"' ;/>`); end >= 0 {
		name = name[:end]
	}
	return name
}
