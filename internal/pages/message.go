package pages

import (
	"embed"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

//go:embed message
var messageFiles embed.FS

// defaultLanguage is read by whoever prefers none that there is.
const defaultLanguage = "en"

// wording has the sentences of one language.
type wording map[string]string

// messages has every language, by its tag (RFC 5646), one file each.
var messages = readMessages()

func readMessages() map[string]wording {
	files, err := messageFiles.ReadDir("message")
	if err != nil {
		panic(err)
	}
	out := make(map[string]wording)
	for _, file := range files {
		raw, err := messageFiles.ReadFile(path.Join("message", file.Name()))
		if err != nil {
			panic(err)
		}
		var m wording
		if err := json.Unmarshal(raw, &m); err != nil {
			panic(err)
		}
		out[strings.TrimSuffix(file.Name(), ".json")] = m
	}
	return out
}

// text returns the sentence called name, with each {word} replaced: pairs has
// the words and what stands for them in turn. A sentence that is not there
// shows as its name, which the tests do not let pass.
func (m wording) text(name any, pairs ...string) string {
	var key string
	switch n := name.(type) {
	case Message:
		key = string(n)
	case string:
		key = n
	}
	sentence, ok := m[key]
	if !ok {
		return key
	}
	replaced := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		replaced = append(replaced, "{"+pairs[i]+"}", pairs[i+1])
	}
	return strings.NewReplacer(replaced...).Replace(sentence)
}

// has reports whether there is a sentence called name.
func (m wording) has(name string) bool { _, ok := m[name]; return ok }

// choose returns the first language of those preferred that there is. A region
// is left aside when it has no file of its own.
func choose(preferred []string) string {
	for _, tag := range preferred {
		tag = strings.ToLower(tag)
		for tag != "" {
			if _, ok := messages[tag]; ok {
				return tag
			}
			i := strings.LastIndexByte(tag, '-')
			tag = tag[:max(i, 0)]
		}
	}
	return defaultLanguage
}

// Languages returns the languages that a request prefers, best first: those of
// ui_locales (OpenID Connect Core §3.1.2.1), then those of Accept-Language, in
// the order in which they are written.
func Languages(uiLocales, acceptLanguage string) []string {
	const most = 16
	out := strings.Fields(uiLocales)
	for item := range strings.SplitSeq(acceptLanguage, ",") {
		tag, _, _ := strings.Cut(item, ";")
		if tag = strings.TrimSpace(tag); tag != "" {
			out = append(out, tag)
		}
	}
	return slices.Clip(out[:min(len(out), most)])
}

// Text returns a sentence in the best of the languages, for what is not a page:
// mails.
func Text(languages []string, name Message, pairs ...string) string {
	return messages[choose(languages)].text(name, pairs...)
}
