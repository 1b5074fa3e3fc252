package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Format is how batches are written as files and objects.
type Format struct {
	Extension, ContentType string
	encode                 func(Batch) ([]byte, error)
}

// The formats.
var (
	JSONLines = Format{"jsonl", "application/x-ndjson", Batch.lines}
	Parquet   = Format{"parquet", "application/vnd.apache.parquet", parquetOf}
)

// FormatNamed returns a format by the name that settings have for it.
func FormatNamed(name string) (Format, error) {
	switch name {
	case "jsonl":
		return JSONLines, nil
	case "parquet":
		return Parquet, nil
	}
	return Format{}, errors.New("must be jsonl or parquet")
}

func parquetOf(b Batch) ([]byte, error) {
	var out bytes.Buffer
	w := parquet.NewGenericWriter[*Event](&out, parquet.Compression(&zstd.Codec{}))
	_, err := w.Write(b.Events)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// name is where a batch lies below a folder or prefix. It depends on where the
// batch begins alone, so that one that comes again takes the other's place.
func (f Format) name(b Batch) string {
	day := time.UnixMilli(b.Events[0].Time).UTC().Format(time.DateOnly)
	return fmt.Sprintf("%s/%s/%020d.%s", b.Organization, day, b.First, f.Extension)
}

// Folder writes each batch as a file: ORGANIZATION/DAY/NUMBER.jsonl.
type Folder struct {
	Dir string
	Format
}

// Deliver writes the file. It appears whole, and is on the disk.
func (d *Folder) Deliver(_ context.Context, b Batch) error {
	raw, err := d.encode(b)
	if err != nil {
		return err
	}
	path := filepath.Join(d.Dir, filepath.FromSlash(d.name(b)))
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".events-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	for dir := folder; ; dir = filepath.Dir(dir) { // the folders may be new
		if err := syncFolder(dir); err != nil {
			return err
		}
		if len(dir) <= len(filepath.Clean(d.Dir)) {
			return nil
		}
	}
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close has nothing to give up.
func (d *Folder) Close() error { return nil }
