package oauth

import (
	"html/template"
	"net/http"
)

// logoutPage asks a person whether they want to sign out, or says that they have.
var logoutPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign out</title>
{{if .Action}}<h1>Sign out of {{.Zone}}?</h1>
<p>Applications that you signed in to with this browser lose their access.
<form method="post" action="{{.Action}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}<button type="submit">Sign out</button>
</form>
{{else}}<h1>You are signed out of {{.Zone}}</h1>
{{end}}`))

// askLogout shows the page that asks; its form brings back what the request
// said, and what only our own page can bring.
func (s *Server) askLogout(w http.ResponseWriter, r *http.Request, snap *snapshot, p *parameters) {
	fields := make(map[string]string)
	for _, name := range []string{"client_id", "id_token_hint", "post_logout_redirect_uri", "state"} {
		if value := p.values[name]; value != "" {
			fields[name] = value
		}
	}
	secret, _ := s.cookie(r, browserCookie, snap.zone.ID)
	fields["csrf"] = csrfToken(secret)
	showLogout(w, "form-action 'self'", struct {
		Zone, Action string
		Fields       map[string]string
	}{snap.zone.Name, snap.issuer + pathLogout, fields})
}

// showSignedOut says that it is done, where there is nowhere to go.
func showSignedOut(w http.ResponseWriter, snap *snapshot) {
	showLogout(w, "form-action 'none'", struct {
		Zone, Action string
		Fields       map[string]string
	}{Zone: snap.zone.Name})
}

func showLogout(w http.ResponseWriter, forms string, says any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; "+forms)
	h["Cache-Control"], h["Referrer-Policy"] = noStore, noReferrer
	if err := logoutPage.Execute(w, says); err != nil {
		return // a browser that has gone needs no page
	}
}
