package sink

import "crypto/x509"

// Classify is classify behind its two results.
func Classify(kind string) (class, activity int32, known bool) {
	to, known := classify(kind)
	return to.class, to.activity, known
}

// Activities names the activities of a class.
func Activities(class int32) map[int32]string { return classes[class].activities }

// Trust makes authorities of the collector's certificate known.
func (s *Syslog) Trust(roots *x509.CertPool) { s.tls.RootCAs = roots }
