package catalog

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// Catalog is the kinds that packages may be of. It is immutable.
type Catalog struct{ kinds map[string]*Kind }

//go:embed kinds/*.json packages/*.json
var files embed.FS

// Builtin returns the kinds of the program. They are read at the first call: a
// server whose zones install nothing does not pay for them.
func Builtin() *Catalog { return builtin() }

// Its files are part of the program, so one that is wrong is a bug of ours.
var builtin = sync.OnceValue(func() *Catalog {
	c := New()
	each("kinds", func(name string, raw []byte) error {
		k, err := ParseKind(name, raw)
		c.kinds[name] = k
		return err
	})
	return c
})

// Shipped is a package that comes with the program.
type Shipped struct {
	Slug     string
	Manifest *Manifest
	SHA      string // of the manifest
}

// Packages returns the packages that come with the program, in the order of
// their slugs. They pass Check, which is not done here: it takes a while.
func Packages() []Shipped {
	var out []Shipped
	each("packages", func(slug string, raw []byte) error {
		m, err := ParseManifest(raw)
		if err != nil {
			return err
		}
		sha, err := m.SHA()
		out = append(out, Shipped{slug, m, sha})
		return err
	})
	return out
}

// each reads the files of a folder in the order of their names.
func each(folder string, read func(name string, raw []byte) error) {
	entries, err := files.ReadDir(folder)
	for _, f := range entries {
		var raw []byte
		if raw, err = fs.ReadFile(files, path.Join(folder, f.Name())); err == nil {
			err = read(strings.TrimSuffix(f.Name(), path.Ext(f.Name())), raw)
		}
		if err != nil {
			panic(fmt.Sprintf("%s/%s: %v", folder, f.Name(), err))
		}
	}
	if err != nil {
		panic(err)
	}
}

// New returns a catalog of the given kinds.
func New(kinds ...*Kind) *Catalog {
	c := &Catalog{kinds: map[string]*Kind{}}
	for _, k := range kinds {
		c.kinds[k.Name] = k
	}
	return c
}

// Kinds returns the kinds in the order of their names.
func (c *Catalog) Kinds() []*Kind {
	out := make([]*Kind, 0, len(c.kinds))
	for _, name := range sorted(c.kinds) {
		out = append(out, c.kinds[name])
	}
	return out
}

// Kind returns the kind with the name, or nil.
func (c *Catalog) Kind(name string) *Kind { return c.kinds[name] }
