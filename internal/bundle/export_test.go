package bundle

import "io"

// Tar writes the layer beneath the compression.
func (b *Bundle) Tar(to io.Writer) error { return b.tar(to) }
