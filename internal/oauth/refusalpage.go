package oauth

import (
	"html/template"
	"net/http"
	"strconv"

	"deputy/internal/deputy"
)

// refusalPage tells a person that a request cannot be answered, where there is
// no client that could be told.
var refusalPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This request cannot be answered</title>
<h1>This request cannot be answered</h1>
<p>{{.Description}}
<p><small>{{.Code}} · {{.RequestID}}</small>
`))

// showRefusal answers a browser with a page about what is wrong.
func (s *Server) showRefusal(w http.ResponseWriter, _ *http.Request, from *origin, zone deputy.ZoneID, err error) {
	refused := asRefusal(err)
	refused.log(s.log, from.requestID, zone)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h["Cache-Control"], h["Referrer-Policy"] = noStore, noReferrer
	status := refused.httpStatus()
	if status == http.StatusUnauthorized {
		status = http.StatusBadRequest // there is nobody to challenge
	}
	if refused.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(refused.retryAfter.Seconds())))
	}
	w.WriteHeader(status)
	err = refusalPage.Execute(w, struct{ Code, Description, RequestID string }{refused.code, refused.description, from.requestID})
	if err != nil {
		return // a browser that has gone needs no page
	}
}
