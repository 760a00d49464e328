package preview

import (
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParsePage(t *testing.T) {
	for _, c := range []struct {
		name, contentType, src string
		graph                  map[string]string
		title, description     string
	}{
		{"OpenGraph", "text/html", `<html prefix="og: http://ogp.me/ns#"><head><title>The Rock (1996)</title>
			<meta property="og:title" content="The Rock" /><meta property='og:type' content=video.movie>
			<META CONTENT="http://x/y?a=1&amp;b=2" PROPERTY="og:url"/></head>`,
			map[string]string{"og:title": "The Rock", "og:type": "video.movie", "og:url": "http://x/y?a=1&b=2"}, "The Rock (1996)", ""},
		{"an ordinary page", "text/html; charset=utf-8", "<title>\n  Praxis   M\u00fcller </title><meta name=description content='Wir sind &quot;da&quot;'>",
			nil, "Praxis Müller", `Wir sind "da"`},
		{"name for property", "text/html", `<meta name="og:title" content="x">`, map[string]string{"og:title": "x"}, "", ""},
		{"the first counts", "text/html", `<meta property=og:title content=a><meta property=og:title content=b><title>c</title><title>d</title>`,
			map[string]string{"og:title": "a"}, "c", ""},
		{"not in comments and scripts", "text/html", `<!-- <meta property=og:title content=a> --><script>"<meta property=og:title content=b>"</SCRIPT>
			<style><title>x</title></style><title>y</title>`, nil, "y", ""},
		{"not in the body", "text/html", `<head></head><body><meta property=og:title content=a>`, nil, "", ""},
		{"latin 1", "text/html; charset=ISO-8859-1", "<title>Pr\xe4xis</title>", nil, "Präxis", ""},
		{"latin 1 in the page", "text/html", "<meta charset=windows-1252><title>\x84Pr\xe4xis\x93</title>", nil, "„Präxis“", ""},
		{"UTF-8 that says latin 1", "text/html; charset=latin1", "<title>Präxis</title>", nil, "Präxis", ""},
		{"broken bytes", "text/html", "<title>a\xffb\x00c\u202ed</title>", nil, "abcd", ""},
		{"attributes of all sorts", "text/html", `<meta a b= c="" =d property = "og:title"content="x"/>`, map[string]string{"og:title": "x"}, "", ""},
		{"unfinished", "text/html", `<meta property="og:title" content="x`, map[string]string{"og:title": "x"}, "", ""},
		{"nothing", "text/html", ``, nil, "", ""},
		{"no tag", "text/html", `a < b > c <`, nil, "", ""},
	} {
		got := parsePage([]byte(c.src), c.contentType)
		if c.graph == nil {
			c.graph = map[string]string{}
		}
		if !maps.Equal(got.graph, c.graph) || got.title != c.title || got.description != c.description {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	long := parsePage([]byte("<title>"+strings.Repeat("ä", 1000)+"</title>"), "text/html")
	if n := utf8.RuneCountInString(long.title); n != maxProperty+1 {
		t.Errorf("a title of %d characters", n)
	}
}

// B4: depth, width and unfinished things cost no more than their bytes.
func TestB04HostilePagesAreReadQuickly(t *testing.T) {
	for name, src := range map[string]string{
		"deep":               strings.Repeat("<div>", maxPage/5),
		"comments":           strings.Repeat("<!--", maxPage/4),
		"scripts":            strings.Repeat("<script>", maxPage/8),
		"attributes":         "<meta " + strings.Repeat("a=b ", maxPage/4),
		"quotes":             "<meta " + strings.Repeat(`"`, maxPage),
		"brackets":           strings.Repeat("<", maxPage),
		"titles":             strings.Repeat("<title>", maxPage/7),
		"properties":         strings.Repeat("<meta property=og:x content=y>", maxPage/30),
		"entities":           "<title>" + strings.Repeat("&amp", maxPage/4),
		"charset of charset": strings.Repeat("charset=", maxPage/8),
	} {
		begun := time.Now()
		parsePage([]byte(src), "text/html; charset=latin1")
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`<html><head><title>a</title><meta property="og:title" content="b&amp;c"><!-- x --></head>`), "text/html")
	f.Add([]byte("<meta charset=latin1><script></scrip</script><META name=description content='\xe4'>"), "text/html; charset=iso-8859-1")
	f.Add([]byte("<meta =\"og:title\" content= property='og:url'"), "")
	f.Fuzz(func(t *testing.T, src []byte, contentType string) {
		p := parsePage(src, contentType)
		texts := []string{p.title, p.description}
		for name, value := range p.graph {
			if !strings.HasPrefix(name, "og:") || len(value) > 4*maxURLValue {
				t.Fatalf("%q: %q", name, value)
			}
			texts = append(texts, value)
		}
		for _, text := range texts {
			if !utf8.ValidString(text) {
				t.Fatalf("%q is no text", text)
			}
		}
	})
}
