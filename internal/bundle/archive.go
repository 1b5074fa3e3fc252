package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"time"

	"deputy/internal/deputy"
)

// ErrTooLarge is what reading fails with beyond MaxSize.
var ErrTooLarge = errors.New("the bundle is too large")

// Pack returns the bundle as an archive: tar (USTAR) in gzip. It fails with
// Invalid when a key cannot be the name of a file in it.
func (b *Bundle) Pack() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if err := b.tar(zip); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// tar writes the layer that is the same to the byte whenever the bundle is.
func (b *Bundle) tar(to io.Writer) error {
	raw, err := b.encodeManifest()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(to)
	write := func(name string, content []byte) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(h); err != nil {
			return bad("%q cannot be the name of a file in a bundle: use at most 85 letters, digits and signs", name).Because(err)
		}
		_, err := archive.Write(content)
		return err
	}
	if err := write(manifestFile, raw); err != nil {
		return err
	}
	if err := write(schemaFile, b.Schema); err != nil {
		return err
	}
	for _, p := range b.sorted() {
		if err := write(policyFolder+"/"+p.key()+policySuffix, p.Text); err != nil {
			return err
		}
	}
	return archive.Close()
}

// Unpack reads an archive. It fails with Invalid on anything that is not quite a
// bundle, and with ErrTooLarge beyond MaxSize.
func Unpack(from io.Reader) (*Bundle, error) {
	zip, err := gzip.NewReader(from)
	if err != nil {
		return nil, unread(err)
	}
	// One byte more than is allowed tells a bundle that ends there from one
	// that goes on.
	limited := &io.LimitedReader{R: zip, N: MaxSize + 1}
	b, err := readTar(limited)
	_, rest := io.Copy(io.Discard, limited) // padding, and the checksum
	switch {
	case limited.N == 0:
		return nil, ErrTooLarge
	case err != nil:
		return nil, err
	}
	return b, unread(rest)
}

// unread says that an archive is none, unless err says more already.
func unread(err error) error {
	if err == nil || deputy.KindOf(err) != "" {
		return err
	}
	return bad("the bundle is not a tar archive in gzip").Because(err)
}

func readTar(from io.Reader) (*Bundle, error) {
	var raw, schema []byte
	files := map[string][]byte{}
	archive := tar.NewReader(from)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, unread(err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil, bad("%q is not a regular file", h.Name)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, unread(err)
		}
		twice := false
		key, isPolicy := policyKey(h.Name)
		switch {
		case h.Name == manifestFile:
			twice, raw = raw != nil, content
		case h.Name == schemaFile:
			twice, schema = schema != nil, content
		case isPolicy:
			_, twice = files[key]
			files[key] = content
		default:
			return nil, bad("%q has no place in a bundle", h.Name)
		}
		if twice {
			return nil, bad("%q is there twice", h.Name)
		}
	}
	if raw == nil {
		return nil, bad("manifest.json is missing")
	}
	b, err := decodeManifest(raw)
	if err != nil {
		return nil, err
	}
	b.Schema = schema
	return b, b.fill(files, func(string) error { return nil }) // left out: that is how a policy goes
}
