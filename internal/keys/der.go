package keys

// ECDSA signatures on P-256 are two numbers r and s. JOSE writes them as 32
// bytes each (RFC 7518 §3.4), the standard library as DER (RFC 3279 §2.2.3):
// 30 len 02 len r 02 len s, numbers without needless zeros in front, except one
// before a byte ≥ 0x80. With numbers this short every length is one byte.

const (
	numberSize = 32
	rawSize    = 2 * numberSize
	maxDERSize = 2 + 2*(2+1+numberSize)
)

// rawFromDER writes the signature der to raw; false when der is no such
// signature.
func rawFromDER(raw *[rawSize]byte, der []byte) bool {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return false
	}
	rest, ok := der[2:], true
	for i := 0; i < rawSize && ok; i += numberSize {
		rest, ok = number(raw[i:i+numberSize], rest)
	}
	return ok && len(rest) == 0
}

// number reads one DER integer into out, right-aligned, and returns what
// follows it.
func number(out, der []byte) (rest []byte, ok bool) {
	if len(der) < 2 || der[0] != 0x02 || int(der[1]) > len(der)-2 {
		return nil, false
	}
	end := 2 + int(der[1])
	digits, rest := der[2:end], der[end:]
	if len(digits) == numberSize+1 && digits[0] == 0 {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > numberSize {
		return nil, false
	}
	clear(out)
	copy(out[numberSize-len(digits):], digits)
	return rest, true
}

// derFromRaw appends the signature raw, of rawSize bytes, to der.
func derFromRaw(der, raw []byte) []byte {
	start := len(der)
	der = append(der, 0x30, 0)
	for digits := raw; len(digits) > 0; digits = digits[numberSize:] {
		n := digits[:numberSize]
		for len(n) > 1 && n[0] == 0 {
			n = n[1:]
		}
		if n[0] >= 0x80 {
			der = append(append(der, 0x02, byte(len(n)+1), 0), n...)
		} else {
			der = append(append(der, 0x02, byte(len(n))), n...)
		}
	}
	der[start+1] = byte(len(der) - start - 2)
	return der
}
