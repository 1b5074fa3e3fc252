package deputytest

import "strings"

// PrivateURLs are URLs that no tenant's setting may lead to: addresses of special
// purpose in all their spellings, hosts that some readers take for addresses, and
// tricks of URL parsers. PORT stands for a port on loopback that somebody listens
// at.
var PrivateURLs = []string{
	// addresses of special purpose, in their usual form
	"https://127.0.0.1:PORT/", "https://127.8.8.8:PORT/", "https://0.0.0.0:PORT/", "https://0.1.2.3/",
	"https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.254:8443/", "https://192.168.1.1/",
	"https://100.64.0.1/", "https://100.100.100.200/latest/meta-data/",
	"https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/v2/credentials", "https://168.63.129.16/machine",
	"https://192.0.0.192/opc/v2/", "https://192.0.2.1/", "https://198.51.100.7/", "https://203.0.113.9/",
	"https://198.18.0.1/", "https://192.88.99.1/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/",
	"https://[::1]:PORT/", "https://[0:0:0:0:0:0:0:1]:PORT/", "https://[::]:PORT/",
	"https://[fe80::1]/", "https://[fe80::1%25lo]:PORT/", "https://[::1%25lo]:PORT/", "https://[2606:4700::1111%25lo]/", "https://[fec0::1]/",
	"https://[fc00::1]/", "https://[fd00:ec2::254]/latest/", "https://[fd20:ce::254]/",
	"https://[ff02::1]/", "https://[2001:db8::1]/", "https://[3fff::1]/", "https://[100::1]/", "https://[5f00::1]/", "https://[4000::1]/",
	// IPv4 in IPv6
	"https://[::ffff:127.0.0.1]:PORT/", "https://[::ffff:7f00:1]:PORT/", "https://[::FFFF:10.0.0.1]/", "https://[::ffff:8.8.8.8]/",
	"https://[::127.0.0.1]:PORT/", "https://[64:ff9b::7f00:1]:PORT/", "https://[64:ff9b::10.0.0.1]/", "https://[64:ff9b:1::a00:1]/",
	"https://[2002:7f00:1::]:PORT/", "https://[2002:a00:1::1]/", "https://[2001:0:7f00:1::1]/",
	// hosts that some resolvers read as addresses
	"https://2130706433:PORT/", "https://0x7f000001:PORT/", "https://0X7F.1:PORT/", "https://017700000001:PORT/",
	"https://0177.0.0.1:PORT/", "https://0x7f.0x0.0x0.0x1:PORT/", "https://127.1:PORT/", "https://127.0.1:PORT/",
	"https://127.0.0.1.:PORT/", "https://127.000.000.001:PORT/", "https://1.2.3.4.5/", "https://0:PORT/", "https://a.b.0x:PORT/",
	"https://[127.0.0.1]:PORT/", "https://[v1.loopback.example]/", "https://::1:PORT/",
	// names that turn into others
	"https://①②⑦.⓪.⓪.①:PORT/", "https://127。0。0。1:PORT/", "https://ⓛocalhost:PORT/", "https://bücher.example/",
	"https://loopback%2eexample/", "https://loop back.example/", "https://loopback..example/", "https://.example/", "https://loopback.example\x00.com/",
	"https://" + strings.Repeat("a", 64) + ".example/", "https://" + strings.Repeat("a.", 127) + "example/",
	// tricks of URL parsers
	"https://example.com@127.0.0.1:PORT/", "https://user:password@loopback.example/", "https://@loopback.example/",
	"https://127.0.0.1:PORT#@example.com/", "https://example.com#@127.0.0.1:PORT/", "https://loopback.example/#",
	`https://example.com\@127.0.0.1:PORT/`, "https:127.0.0.1:PORT", "https:///127.0.0.1:PORT/", "https:/127.0.0.1:PORT/", "//127.0.0.1:PORT/",
	" https://127.0.0.1:PORT/", "https://loopback.example:0/", "https://loopback.example:65536/", "https://loopback.example:https/", "https://:PORT/", "",
	// other schemes
	"http://loopback.example/", "http://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:PORT/", "ftp://loopback.example/", "unix:///run/x.sock", "javascript:1",
	"https://loopback.example/" + strings.Repeat("a", 2048),
}
