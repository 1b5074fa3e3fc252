package catalog

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// declared is a property that is known here.
type declared struct {
	schema   *jsonschema.Schema
	subjects []string // what it may annotate
}

//go:embed vocabulary.json
var vocabularyFile []byte

// vocabulary holds the known properties by their URN. Others may be used with
// any value.
var vocabulary = sync.OnceValue(readVocabulary)

func readVocabulary() map[string]*declared {
	var file map[string]map[string]any
	if err := json.Unmarshal(vocabularyFile, &file); err != nil {
		panic(err)
	}
	out := map[string]*declared{}
	for name, tree := range file {
		d := &declared{}
		for _, s := range tree["x-subject-types"].([]any) {
			d.subjects = append(d.subjects, s.(string))
		}
		delete(tree, "x-subject-types")
		own, err := compile(tree)
		if err != nil {
			panic(fmt.Sprintf("property %s: %v", name, err))
		}
		d.schema = own.compiled
		out[name] = d
	}
	return out
}
