package address_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/address"
)

const allowed = address.Reason(0)

func reasonOf(t *testing.T, err error) address.Reason {
	t.Helper()
	if err == nil {
		return allowed
	}
	var refused *address.Error
	if !errors.As(err, &refused) || !errors.Is(err, address.ErrRefused) {
		t.Fatalf("%v is no *Error", err)
	}
	return refused.Reason
}

func parseAddresses(t *testing.T, prefixes ...string) address.Allowed {
	t.Helper()
	parsed, err := address.Parse(prefixes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// everything is the widest list that an operator can write.
func everything(t *testing.T) address.Allowed {
	return parseAddresses(t, "0.0.0.0/0", "::/0", "100.64.0.0/10")
}

func TestEveryEdgeOfEveryRange(t *testing.T) {
	const (
		notListed   = address.ReasonNotListed
		metadata    = address.ReasonMetadata
		linkLocal   = address.ReasonLinkLocal
		unspecified = address.ReasonUnspecified
		multicast   = address.ReasonMulticast
		embedded    = address.ReasonEmbedded
		reserved    = address.ReasonReserved
		invalid     = address.ReasonInvalid
	)
	wide := everything(t)
	for _, test := range []struct {
		addr              string
		byDefault, listed address.Reason // with nothing listed, with everything listed
	}{
		{"0.0.0.0", unspecified, unspecified},
		{"0.255.255.255", unspecified, unspecified},
		{"1.0.0.0", notListed, allowed},
		{"9.255.255.255", notListed, allowed},
		{"10.0.0.0", allowed, allowed},
		{"10.255.255.255", allowed, allowed},
		{"11.0.0.0", notListed, allowed},
		{"100.63.255.255", notListed, allowed},
		{"100.64.0.0", notListed, allowed},
		{"100.100.100.199", notListed, allowed},
		{"100.100.100.200", metadata, metadata},
		{"100.100.100.201", notListed, allowed},
		{"100.127.255.255", notListed, allowed},
		{"100.128.0.0", notListed, allowed},
		{"126.255.255.255", notListed, allowed},
		{"127.0.0.0", allowed, allowed},
		{"127.0.0.1", allowed, allowed},
		{"127.255.255.255", allowed, allowed},
		{"128.0.0.0", notListed, allowed},
		{"168.63.129.15", notListed, allowed},
		{"168.63.129.16", metadata, metadata},
		{"168.63.129.17", notListed, allowed},
		{"169.253.255.255", notListed, allowed},
		{"169.254.0.0", linkLocal, linkLocal},
		{"169.254.169.254", metadata, metadata},
		{"169.254.170.2", linkLocal, linkLocal},
		{"169.254.255.255", linkLocal, linkLocal},
		{"169.255.0.0", notListed, allowed},
		{"172.15.255.255", notListed, allowed},
		{"172.16.0.0", allowed, allowed},
		{"172.31.255.255", allowed, allowed},
		{"172.32.0.0", notListed, allowed},
		{"191.255.255.255", notListed, allowed},
		{"192.0.0.0", reserved, reserved},
		{"192.0.0.192", metadata, metadata},
		{"192.0.0.255", reserved, reserved},
		{"192.0.1.0", notListed, allowed},
		{"192.0.1.255", notListed, allowed},
		{"192.0.2.0", reserved, reserved},
		{"192.0.2.255", reserved, reserved},
		{"192.0.3.0", notListed, allowed},
		{"192.88.98.255", notListed, allowed},
		{"192.88.99.0", reserved, reserved},
		{"192.88.99.255", reserved, reserved},
		{"192.88.100.0", notListed, allowed},
		{"192.167.255.255", notListed, allowed},
		{"192.168.0.0", allowed, allowed},
		{"192.168.255.255", allowed, allowed},
		{"192.169.0.0", notListed, allowed},
		{"198.17.255.255", notListed, allowed},
		{"198.18.0.0", reserved, reserved},
		{"198.19.255.255", reserved, reserved},
		{"198.20.0.0", notListed, allowed},
		{"198.51.99.255", notListed, allowed},
		{"198.51.100.0", reserved, reserved},
		{"198.51.100.255", reserved, reserved},
		{"198.51.101.0", notListed, allowed},
		{"203.0.112.255", notListed, allowed},
		{"203.0.113.0", reserved, reserved},
		{"203.0.113.255", reserved, reserved},
		{"203.0.114.0", notListed, allowed},
		{"223.255.255.255", notListed, allowed},
		{"224.0.0.0", multicast, multicast},
		{"239.255.255.255", multicast, multicast},
		{"240.0.0.0", reserved, reserved},
		{"255.255.255.254", reserved, reserved},
		{"255.255.255.255", multicast, multicast},

		{"::", unspecified, unspecified},
		{"::1", allowed, allowed},
		{"::2", embedded, embedded},
		{"::7f00:1", embedded, embedded},
		{"::a9fe:a9fe", embedded, embedded},
		{"::ffff:0:a9fe:a9fe", embedded, embedded},
		{"::ffff:10.1.2.3", allowed, allowed},
		{"::ffff:8.8.8.8", notListed, allowed},
		{"::ffff:169.254.169.254", metadata, metadata},
		{"::ffff:0.0.0.0", unspecified, unspecified},
		{"0:0:0:1::", reserved, reserved},
		{"64:ff9b::", embedded, embedded},
		{"64:ff9b::a9fe:a9fe", embedded, embedded},
		{"64:ff9b::10.0.0.1", embedded, embedded},
		{"64:ff9b::ffff:ffff", embedded, embedded},
		{"64:ff9b::1:0:0", reserved, reserved},
		{"64:ff9b:1::", embedded, embedded},
		{"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", embedded, embedded},
		{"64:ff9b:2::", reserved, reserved},
		{"100::1", reserved, reserved},
		{"1fff:ffff::", reserved, reserved},
		{"2000::", notListed, allowed},
		{"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", notListed, allowed},
		{"2001::", embedded, embedded},
		{"2001:0:ffff:ffff:ffff:ffff:ffff:ffff", embedded, embedded},
		{"2001:1::", reserved, reserved},
		{"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", reserved, reserved},
		{"2001:200::", notListed, allowed},
		{"2001:db7:ffff::", notListed, allowed},
		{"2001:db8::", reserved, reserved},
		{"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", reserved, reserved},
		{"2001:db9::", notListed, allowed},
		{"2001:ffff::", notListed, allowed},
		{"2002::", embedded, embedded},
		{"2002:a9fe:a9fe::", embedded, embedded},
		{"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", embedded, embedded},
		{"2003::", notListed, allowed},
		{"3ffe:ffff::", notListed, allowed},
		{"3fff::", reserved, reserved},
		{"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", reserved, reserved},
		{"3fff:1000::", notListed, allowed},
		{"4000::", reserved, reserved},
		{"5f00::", reserved, reserved},
		{"fbff:ffff::", reserved, reserved},
		{"fc00::", allowed, allowed},
		{"fd00:42::42", metadata, metadata},
		{"fd00:42::43", allowed, allowed},
		{"fd00:100::100:200", metadata, metadata},
		{"fd00:a9fe:a9fe::1", metadata, metadata},
		{"fd00:c1::a9fe:a9fe", metadata, metadata},
		{"fd00:ec1:ffff:ffff:ffff:ffff:ffff:ffff", allowed, allowed},
		{"fd00:ec2::", metadata, metadata},
		{"fd00:ec2::254", metadata, metadata},
		{"fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff", metadata, metadata},
		{"fd00:ec3::", allowed, allowed},
		{"fd20:ce::254", metadata, metadata},
		{"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", allowed, allowed},
		{"fd12:3456::a9fe:a9fe", metadata, metadata}, // the metadata service behind a translator of one's own
		{"fd12:3456::6464:64c8", metadata, metadata},
		{"fd12:3456::5efe:a9fe:a9fe", embedded, embedded}, // ISATAP
		{"2003::200:5efe:10.0.0.1", embedded, embedded},
		{"fe00::", reserved, reserved},
		{"fe7f:ffff::", reserved, reserved},
		{"fe80::", linkLocal, linkLocal},
		{"fe80::1%eth0", invalid, invalid},
		{"fc00::1%eth0", invalid, invalid},
		{"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", linkLocal, linkLocal},
		{"fec0::", linkLocal, linkLocal},
		{"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", linkLocal, linkLocal},
		{"ff00::", multicast, multicast},
		{"ff02::1", multicast, multicast},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", multicast, multicast},
	} {
		addr := netip.MustParseAddr(test.addr)
		if got := reasonOf(t, address.Allowed{}.Check(addr)); got != test.byDefault {
			t.Errorf("%s by default: %v, want %v", test.addr, got, test.byDefault)
		}
		if got := reasonOf(t, wide.Check(addr)); got != test.listed {
			t.Errorf("%s with everything listed: %v, want %v", test.addr, got, test.listed)
		}
	}
	if got := reasonOf(t, wide.Check(netip.Addr{})); got != invalid {
		t.Errorf("no address at all: %v", got)
	}
}

func TestAListReplacesTheDefault(t *testing.T) {
	listed := parseAddresses(t, "10.1.0.0/16", "192.168.7.7", "2a00:1450::/32")
	for addr, want := range map[string]address.Reason{
		"10.1.255.255": allowed, "10.2.0.0": address.ReasonNotListed, "192.168.7.7": allowed,
		"192.168.7.8": address.ReasonNotListed, "127.0.0.1": address.ReasonNotListed,
		"::1": address.ReasonNotListed, "2a00:1450::1": allowed, "::ffff:10.1.2.3": allowed,
	} {
		if got := reasonOf(t, listed.Check(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if got := listed.String(); got != "10.1.0.0/16, 192.168.7.7/32, 2a00:1450::/32" {
		t.Errorf("printed as %s", got)
	}
}

func TestSharedSpaceNeedsToBeNamed(t *testing.T) {
	addr := netip.MustParseAddr("100.64.1.1")
	for list, want := range map[string]address.Reason{
		"0.0.0.0/0": address.ReasonNotListed, "100.0.0.0/8": address.ReasonNotListed,
		"100.64.0.0/10": allowed, "100.64.1.0/24": allowed, "100.64.1.1": allowed, "100.65.0.0/16": address.ReasonNotListed,
	} {
		if got := reasonOf(t, parseAddresses(t, list).Check(addr)); got != want {
			t.Errorf("%s: %v, want %v", list, got, want)
		}
	}
}

func TestParseAddressesRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                    "not an address",
		"wiki.internal":       "not an address",
		"10.0.0.0/33":         "not a prefix",
		"10.0.0.0/":           "not a prefix",
		"10.0.0.1/8":          "write 10.0.0.0/8",
		"0177.0.0.1":          "not an address",
		"127.1":               "not an address",
		"::ffff:10.0.0.0/104": "write it as IPv4",
		"::ffff:10.0.0.1":     "write it as IPv4",
		"fe80::1%eth0":        "without a zone",
		"169.254.0.0/16":      "can never be allowed (link-local)",
		"169.254.169.254":     "can never be allowed (cloud metadata",
		"fe80::/10":           "can never be allowed",
		"64:ff9b::/96":        "can never be allowed",
		"4000::/8":            "can never be allowed (reserved range)",
	} {
		_, err := address.Parse([]string{"10.0.0.0/8", text})
		if !errors.Is(err, address.ErrConfig) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "allowed_ips[1]") {
			t.Errorf("%q gives %v, want %s", text, err, says)
		}
	}
	if _, err := address.Parse([]string{}); !errors.Is(err, address.ErrConfig) {
		t.Errorf("an empty list gives %v", err)
	}
	if parsed, err := address.Parse(nil); err != nil || parsed.Check(netip.MustParseAddr("10.0.0.1")) != nil {
		t.Errorf("no list gives %v", err)
	}
}

func TestControlJudgesWhatIsDialled(t *testing.T) {
	var addresses address.Allowed
	for _, test := range []struct {
		network, address string
		want             address.Reason
	}{
		{"tcp4", "10.0.0.1:443", allowed},
		{"tcp6", "[fd12::1]:443", allowed},
		{"tcp6", "[::ffff:10.0.0.1]:443", allowed},
		{"tcp4", "169.254.169.254:80", address.ReasonMetadata},
		{"tcp4", "8.8.8.8:443", address.ReasonNotListed},
		{"tcp6", "[fe80::1%eth0]:80", address.ReasonInvalid},
		{"tcp4", "localhost:80", address.ReasonInvalid},
		{"tcp4", "10.0.0.1", address.ReasonInvalid},
		{"udp4", "10.0.0.1:53", address.ReasonNetwork},
		{"tcp", "10.0.0.1:53", address.ReasonNetwork},
		{"unix", "/run/docker.sock", address.ReasonInvalid},
	} {
		if got := reasonOf(t, addresses.Control(test.network, test.address, nil)); got != test.want {
			t.Errorf("%s %s: %v, want %v", test.network, test.address, got, test.want)
		}
	}
}

func TestADiallerWithControlNeverConnects(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dial := func(addresses address.Allowed) error {
		dialer := net.Dialer{Control: addresses.Control}
		conn, err := dialer.DialContext(context.Background(), "tcp", listener.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := dial(address.Allowed{}); err != nil {
		t.Fatalf("loopback is refused by default: %v", err)
	}
	if got := reasonOf(t, dial(parseAddresses(t, "10.0.0.0/8"))); got != address.ReasonNotListed {
		t.Errorf("got %v", got)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	for reason := address.ReasonInvalid; reason <= address.ReasonNotListed; reason++ {
		text := (&address.Error{Addr: netip.MustParseAddr("8.8.8.8"), Reason: reason}).Error()
		if strings.Contains(text, "unknown reason") || !strings.Contains(text, "8.8.8.8") || !strings.Contains(text, "; ") {
			t.Errorf("%d says %s", reason, text)
		}
	}
}

// forbiddenByHand is a second opinion, written without the table: it knows ranges by their bytes.
func forbiddenByHand(a [4]byte) bool {
	switch {
	case a[0] == 0, a[0] >= 224, a[0] == 169 && a[1] == 254, a == [4]byte{100, 100, 100, 200}, a == [4]byte{168, 63, 129, 16},
		a[0] == 192 && a[1] == 0 && a[2] == 0, a[0] == 192 && a[1] == 0 && a[2] == 2, a[0] == 192 && a[1] == 88 && a[2] == 99,
		a[0] == 198 && a[1]&0xfe == 18, a[0] == 198 && a[1] == 51 && a[2] == 100, a[0] == 203 && a[1] == 0 && a[2] == 113:
		return true
	}
	return false
}

func FuzzNoForbiddenAddressIsAccepted(f *testing.F) {
	for _, text := range []string{"169.254.169.254", "10.0.0.1", "127.0.0.1", "100.100.100.200", "192.0.0.192", "8.8.8.8", "255.255.255.255"} {
		raw := netip.MustParseAddr(text).As4()
		f.Add(binary.BigEndian.Uint32(raw[:]), uint64(0xfd12345600000000))
	}
	wide, err := address.Parse([]string{"0.0.0.0/0", "::/0", "100.64.0.0/10"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, v4 uint32, high uint64) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], v4)
		plain := netip.AddrFrom4(a)
		if accepted := wide.Check(plain) == nil; accepted == forbiddenByHand(a) {
			t.Errorf("%s: accepted is %v", plain, accepted)
		}
		if byDefault := (address.Allowed{}).Check(plain) == nil; byDefault != (plain.IsPrivate() || plain.IsLoopback()) {
			t.Errorf("%s: accepted by default is %v", plain, byDefault)
		}
		mapped := netip.AddrFrom16(plain.As16())
		if (wide.Check(mapped) == nil) != (wide.Check(plain) == nil) {
			t.Errorf("%s and %s are judged apart", mapped, plain)
		}
		// Every form in which an IPv6 address stands for this one.
		for _, form := range []string{
			"::%02x%02x:%02x%02x", "::ffff:0:%02x%02x:%02x%02x", "64:ff9b::%02x%02x:%02x%02x", "64:ff9b:1::%02x%02x:%02x%02x",
			"2002:%02x%02x:%02x%02x::1", "2001:0:%02x%02x:%02x%02x::1", "fd12::5efe:%02x%02x:%02x%02x", "2003::200:5efe:%02x%02x:%02x%02x",
		} {
			addr := netip.MustParseAddr(fmt.Sprintf(form, a[0], a[1], a[2], a[3]))
			if wide.Check(addr) == nil && addr != netip.IPv6Loopback() {
				t.Errorf("%s stands for %s and is accepted", addr, plain)
			}
		}
		// Any IPv6 address: what is accepted is global unicast or unique local, and in neither way special.
		var raw [16]byte
		binary.BigEndian.PutUint64(raw[:8], high)
		copy(raw[12:], a[:])
		addr := netip.AddrFrom16(raw)
		if wide.Check(addr) != nil || addr == netip.IPv6Loopback() || addr.Is4In6() {
			return
		}
		switch {
		case high>>61 != 1 && high>>57 != 0x7e, high>>48 == 0x2002, high>>41 == 0x20010000>>9, high>>32 == 0x20010db8, high>>32 == 0xfd000ec2,
			a == [4]byte{169, 254, 169, 254}:
			t.Errorf("%s is accepted", addr)
		}
	})
}

func BenchmarkAddressCheck(b *testing.B) {
	addr := netip.MustParseAddr("192.168.1.2")
	b.ReportAllocs()
	for b.Loop() {
		if (address.Allowed{}).Check(addr) != nil {
			b.Fatal("refused")
		}
	}
}

func TestPublic(t *testing.T) {
	for _, c := range []struct {
		listed []string
		addr   string
		want   address.Reason
	}{
		{nil, "8.8.8.8", allowed},
		{nil, "2606:4700::1111", allowed},
		{nil, "10.1.2.3", address.ReasonNotListed},
		{nil, "127.0.0.1", address.ReasonNotListed},
		{nil, "::1", address.ReasonNotListed},
		{nil, "fd12::1", address.ReasonNotListed},
		{nil, "100.64.0.1", address.ReasonNotListed},
		{nil, "169.254.169.254", address.ReasonMetadata},
		{[]string{"10.0.0.0/8"}, "10.1.2.3", allowed},
		{[]string{"10.0.0.0/8"}, "8.8.8.8", allowed},
		{[]string{"10.0.0.0/8"}, "127.0.0.1", address.ReasonNotListed},
		{[]string{"100.64.0.0/10"}, "100.64.0.1", allowed},
	} {
		a, err := address.ParsePublic(c.listed)
		if err != nil {
			t.Fatal(err)
		}
		var refused *address.Error
		if errors.As(a.Check(netip.MustParseAddr(c.addr)), &refused); (refused == nil) != (c.want == allowed) || refused != nil && refused.Reason != c.want {
			t.Errorf("public and %v: %s: %v, want %v", c.listed, c.addr, refused, c.want)
		}
	}
	if _, err := address.ParsePublic([]string{"169.254.0.0/16"}); err == nil {
		t.Error("a range that can never be allowed was taken")
	}
}
