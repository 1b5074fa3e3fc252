package pages

// Sentences returns the sentences of every language, by name.
func Sentences() map[string]map[string]string {
	out := make(map[string]map[string]string)
	for language, m := range messages {
		out[language] = m
	}
	return out
}
