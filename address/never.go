package address

import (
	"encoding/binary"
	"net/netip"
)

// sharedSpace is carrier-grade NAT (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// byDefault is what an upstream may have when nothing is listed: RFC 1918, RFC 4193 and loopback.
var byDefault = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
}

type refusal struct {
	prefix netip.Prefix
	reason Reason
}

// never is refused whatever the operator lists; the first match gives the reason. The table is ours because the
// predicates of net/netip call many of these addresses ordinary global unicast. Sources: the IANA special-purpose
// address registries (RFC 6890 and its updates) and the clouds' own documentation of their metadata services.
//
// Translators and tunnels (NAT64, 6to4, Teredo, IPv4-compatible) are refused as a whole and not judged by the IPv4
// address inside. Where that address sits depends on prefix lengths that only the translator knows (RFC 6052), and
// the well-known NAT64 prefix must not stand for private addresses anyway, which is where upstreams are. An upstream
// behind such a translator has to be reached by its IPv4 address.
var never = []refusal{
	{netip.MustParsePrefix("100.100.100.200/32"), ReasonMetadata},     // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), ReasonMetadata},       // Azure platform service
	{netip.MustParsePrefix("192.0.0.192/32"), ReasonMetadata},         // Oracle Cloud, classic
	{netip.MustParsePrefix("169.254.169.254/32"), ReasonMetadata},     // most clouds
	{netip.MustParsePrefix("fd00:ec2::/32"), ReasonMetadata},          // AWS: metadata, pod identity, DNS, time
	{netip.MustParsePrefix("fd20:ce::254/128"), ReasonMetadata},       // Google Cloud
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), ReasonMetadata}, // Oracle Cloud
	{netip.MustParsePrefix("fd00:42::42/128"), ReasonMetadata},        // Scaleway
	{netip.MustParsePrefix("fd00:a9fe:a9fe::1/128"), ReasonMetadata},  // Akamai (Linode)
	{netip.MustParsePrefix("fd00:100::100:200/128"), ReasonMetadata},  // Alibaba Cloud

	{netip.MustParsePrefix("0.0.0.0/8"), ReasonUnspecified},        // "this network", RFC 791; Linux dials 0.0.0.0 as loopback
	{netip.MustParsePrefix("169.254.0.0/16"), ReasonLinkLocal},     // RFC 3927
	{netip.MustParsePrefix("192.0.0.0/24"), ReasonReserved},        // IETF protocol assignments, RFC 6890
	{netip.MustParsePrefix("192.0.2.0/24"), ReasonReserved},        // documentation, RFC 5737
	{netip.MustParsePrefix("192.88.99.0/24"), ReasonReserved},      // 6to4 relays, RFC 7526
	{netip.MustParsePrefix("198.18.0.0/15"), ReasonReserved},       // benchmarks, RFC 2544
	{netip.MustParsePrefix("198.51.100.0/24"), ReasonReserved},     // documentation, RFC 5737
	{netip.MustParsePrefix("203.0.113.0/24"), ReasonReserved},      // documentation, RFC 5737
	{netip.MustParsePrefix("224.0.0.0/4"), ReasonMulticast},        // RFC 5771
	{netip.MustParsePrefix("255.255.255.255/32"), ReasonMulticast}, // limited broadcast, RFC 919
	{netip.MustParsePrefix("240.0.0.0/4"), ReasonReserved},         // RFC 1112

	{netip.MustParsePrefix("::/128"), ReasonUnspecified},      // RFC 4291
	{netip.MustParsePrefix("::ffff:0:0/96"), ReasonEmbedded},  // IPv4-mapped, for a listed prefix; an address is unmapped first
	{netip.MustParsePrefix("64:ff9b::/96"), ReasonEmbedded},   // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), ReasonEmbedded}, // local NAT64, RFC 8215
	{netip.MustParsePrefix("2001::/32"), ReasonEmbedded},      // Teredo, RFC 4380
	{netip.MustParsePrefix("2002::/16"), ReasonEmbedded},      // 6to4, RFC 3056
	{netip.MustParsePrefix("2001::/23"), ReasonReserved},      // IETF protocol assignments: ORCHID, benchmarks and others
	{netip.MustParsePrefix("2001:db8::/32"), ReasonReserved},  // documentation, RFC 3849
	{netip.MustParsePrefix("3fff::/20"), ReasonReserved},      // documentation, RFC 9637
	{netip.MustParsePrefix("fe80::/10"), ReasonLinkLocal},     // RFC 4291
	{netip.MustParsePrefix("fec0::/10"), ReasonLinkLocal},     // site-local, RFC 3879
	{netip.MustParsePrefix("ff00::/8"), ReasonMulticast},      // RFC 4291
}

// usable are the only IPv6 ranges in which a host can be: global unicast as far as it is assigned, unique local, and
// loopback. What IANA assigns later is refused until it is added here.
var usable = []netip.Prefix{
	netip.MustParsePrefix("2000::/3"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("::1/128"),
}

// forbidden returns why addr, which is no IPv4-mapped one, is refused whatever is listed; 0 when it is not.
func forbidden(addr netip.Addr) Reason {
	for _, range_ := range never {
		if range_.prefix.Contains(addr) {
			return range_.reason
		}
	}
	if addr.Is4() {
		return 0
	}
	for _, prefix := range usable {
		if prefix.Contains(addr) {
			return embedded(addr)
		}
	}
	if low := addr.As16(); binary.BigEndian.Uint64(low[:8]) == 0 {
		return ReasonEmbedded // IPv4-compatible and IPv4-translated forms below ::/64
	}
	return ReasonReserved
}

// embedded looks for an IPv4 address in an otherwise usable IPv6 address: an ISATAP interface identifier (RFC 5214)
// always stands for one. A translator of the operator's own may have any prefix, so that a metadata address in the
// last 32 bits is refused behind every one of them.
func embedded(addr netip.Addr) Reason {
	raw := addr.As16()
	switch binary.BigEndian.Uint32(raw[8:12]) {
	case 0x00005efe, 0x02005efe, 0x01005efe, 0x03005efe:
		return ReasonEmbedded
	}
	last := netip.AddrFrom4([4]byte(raw[12:]))
	for _, range_ := range never {
		if range_.reason == ReasonMetadata && range_.prefix.Contains(last) {
			return ReasonMetadata
		}
	}
	return 0
}
