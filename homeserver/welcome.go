package homeserver

import (
	"crypto/rand"
	"html/template"
	"net/http"
)

// welcomePage is what a person sees who opens a homeserver's address in a browser.
var welcomePage = template.Must(template.New("welcome").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Name}} – Konsil</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:12vh auto;padding:0 1.5rem;color:#16303a;background:#f6f9fa}
h1{font-size:1.6rem}code{background:#e4edf0;padding:.1rem .35rem;border-radius:.25rem}p{margin:.8rem 0}
</style></head><body>
<h1>{{.Name}}</h1>
<p>This is a Matrix homeserver, served by Konsil. It works.</p>
<p>To use it, open a Matrix client, choose <code>{{.Name}}</code> as the homeserver (or the address in your browser's address bar), and log in.</p>
</body></html>
`))

func (d *Domain) welcome(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = welcomePage.Execute(w, d) // who is gone needs no page
}

// newPassword draws one that a person can type: 16 letters and digits hold 80 bits.
func newPassword() string { return rand.Text()[:16] }
