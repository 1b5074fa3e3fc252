package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
)

//go:embed asset
var assetFiles embed.FS

// AssetPath is where, below an issuer, the pages look for what they load.
const AssetPath = "/login/assets/"

// asset is a file that pages load. Its name changes with what is in it, so that
// it can be kept for ever.
type asset struct {
	name, media string
	body        []byte
}

var assets = readAssets()

func readAssets() map[string]asset {
	out := make(map[string]asset)
	for file, media := range map[string]string{"style.css": "text/css; charset=utf-8", "passkey.js": "text/javascript; charset=utf-8"} {
		body, err := assetFiles.ReadFile("asset/" + file)
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		base, extension, _ := strings.Cut(file, ".")
		out[file] = asset{base + "-" + hex.EncodeToString(sum[:6]) + "." + extension, media, body}
	}
	return out
}

// assetName returns the name that a page asks for a file by.
func assetName(file string) string { return AssetPath + assets[file].name }

// ServeAsset answers with the file called name, and reports whether there is
// one.
func ServeAsset(w http.ResponseWriter, name string) bool {
	for _, a := range assets {
		if a.name != name {
			continue
		}
		h := w.Header()
		h.Set("Content-Type", a.media)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(a.body) // a reader who has gone needs no file
		return true
	}
	return false
}
