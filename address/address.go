package address

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// Allowed are the IP addresses that may be dialled. The zero value allows the private ranges (10.0.0.0/8,
// 172.16.0.0/12, 192.168.0.0/16, fc00::/7) and loopback (127.0.0.0/8, ::1). Whatever is listed, the ranges in
// never.go are refused. An Allowed is safe for concurrent use.
type Allowed struct {
	listed []netip.Prefix // empty: the default
	public bool           // whatever is neither private nor loopback is allowed too
}

// Reason says why an address is refused.
type Reason uint8

// The reasons, from the most specific.
const (
	// ReasonInvalid is no IP address at all, or one with a zone.
	ReasonInvalid Reason = iota + 1
	// ReasonNetwork is a dial that is not TCP.
	ReasonNetwork
	// ReasonMetadata is a cloud's metadata or platform service.
	ReasonMetadata
	// ReasonLinkLocal is a link-local or site-local address.
	ReasonLinkLocal
	// ReasonUnspecified is "this host on this network".
	ReasonUnspecified
	// ReasonMulticast is a multicast or broadcast address.
	ReasonMulticast
	// ReasonEmbedded is an IPv6 address that stands for an IPv4 address behind a translator or a tunnel.
	ReasonEmbedded
	// ReasonReserved is a range set aside for documentation, benchmarks, protocols or nothing yet.
	ReasonReserved
	// ReasonNotListed is an ordinary address that the operator has not allowed.
	ReasonNotListed
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case ReasonInvalid:
		return "not a plain IP address"
	case ReasonNetwork:
		return "not a TCP connection"
	case ReasonMetadata:
		return "cloud metadata or platform service"
	case ReasonLinkLocal:
		return "link-local"
	case ReasonUnspecified:
		return "unspecified"
	case ReasonMulticast:
		return "multicast or broadcast"
	case ReasonEmbedded:
		return "IPv4 address embedded in IPv6"
	case ReasonReserved:
		return "reserved range"
	case ReasonNotListed:
		return "not in allowed_ips"
	default:
		return "unknown reason"
	}
}

// Error is the refusal of one address. It matches ErrRefused.
type Error struct {
	Addr   netip.Addr // as it was dialled; invalid when the text was no address
	Reason Reason
}

// Error names the address, the reason and what an operator can do.
func (e *Error) Error() string {
	hint := "this range is never allowed"
	switch e.Reason {
	case ReasonNotListed:
		hint = "add it to allowed_ips if what is called is meant to be there"
	case ReasonInvalid, ReasonNetwork:
		hint = "use an upstream with a plain IP address over TCP"
	}
	return fmt.Sprintf("%v: %s: %s; %s", ErrRefused, e.Addr, e.Reason, hint)
}

// Unwrap makes errors.Is(err, ErrRefused) true.
func (e *Error) Unwrap() error { return ErrRefused }

// Parse reads a list of prefixes ("10.0.0.0/8") and single addresses ("10.1.2.3"). nil gives the default; an
// empty list is an error, because it reads as "nothing" and as "no limit". A prefix that lies in a range that is never
// allowed is an error, since listing it cannot have the effect that was meant; one that covers such a range, such as
// 0.0.0.0/0, is accepted and the range stays refused.
func Parse(prefixes []string) (Allowed, error) {
	if prefixes == nil {
		return Allowed{}, nil
	}
	if len(prefixes) == 0 {
		return Allowed{}, fmt.Errorf("%w: allowed_ips is empty; leave it out for private ranges and loopback, or list prefixes", ErrConfig)
	}
	listed := make([]netip.Prefix, 0, len(prefixes))
	for i, text := range prefixes {
		prefix, err := parsePrefix(text)
		if err != nil {
			return Allowed{}, fmt.Errorf("%w: allowed_ips[%d]: %w", ErrConfig, i, err)
		}
		listed = append(listed, prefix)
	}
	return Allowed{listed: listed}, nil
}

// ParsePublic reads the list for what is meant to be on the Internet, such as an identity provider: public addresses are
// allowed, and of the private ranges and loopback only what is listed. The list may be empty.
func ParsePublic(prefixes []string) (Allowed, error) {
	if len(prefixes) == 0 {
		return Allowed{public: true}, nil
	}
	a, err := Parse(prefixes)
	a.public = true
	return a, err
}

func parsePrefix(text string) (netip.Prefix, error) {
	var prefix netip.Prefix
	if strings.Contains(text, "/") {
		parsed, err := netip.ParsePrefix(text)
		if err != nil {
			return prefix, fmt.Errorf("not a prefix; write one such as 10.0.0.0/8")
		}
		prefix = parsed
	} else {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return prefix, fmt.Errorf("not an address; write a prefix such as 10.0.0.0/8 or an address without a zone")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Addr().Is4In6() {
		return prefix, fmt.Errorf("%s is an IPv4 prefix written as IPv6; write it as IPv4", prefix)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, fmt.Errorf("%s has bits set behind its length; write %s", prefix, masked)
	}
	for _, range_ := range never {
		if contains(range_.prefix, prefix) {
			return prefix, fmt.Errorf("%s can never be allowed (%s); remove it", prefix, range_.reason)
		}
	}
	if prefix.Addr().Is6() && !slices.ContainsFunc(usable, prefix.Overlaps) {
		return prefix, fmt.Errorf("%s can never be allowed (%s); remove it", prefix, ReasonReserved)
	}
	return prefix, nil
}

// Check returns nil when addr may be dialled, and else an *Error.
func (a Allowed) Check(addr netip.Addr) error {
	if reason := a.judge(addr); reason != 0 {
		return &Error{Addr: addr, Reason: reason}
	}
	return nil
}

func (a Allowed) judge(addr netip.Addr) Reason {
	if !addr.IsValid() || addr.Zone() != "" {
		return ReasonInvalid
	}
	addr = addr.Unmap()
	if reason := forbidden(addr); reason != 0 {
		return reason
	}
	if a.public && !sharedSpace.Contains(addr) && !slices.ContainsFunc(byDefault, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return 0
	}
	for _, prefix := range a.prefixes() {
		// Carrier-grade NAT space is shared with strangers in some networks and private in others: only a prefix
		// inside it allows it, a wider one such as 0.0.0.0/0 does not.
		if prefix.Contains(addr) && (!sharedSpace.Contains(addr) || contains(sharedSpace, prefix)) {
			return 0
		}
	}
	return ReasonNotListed
}

// Control is for net.Dialer.Control: it sees the address that is about to be dialled, after name resolution, so that
// a name which answers differently the second time (DNS rebinding) gains nothing. It refuses everything but TCP.
func (a Allowed) Control(network, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{Reason: ReasonInvalid}
	}
	if network != "tcp4" && network != "tcp6" {
		return &Error{Addr: target.Addr(), Reason: ReasonNetwork}
	}
	return a.Check(target.Addr())
}

// prefixes are those that are listed, or stand for none.
func (a Allowed) prefixes() []netip.Prefix {
	if len(a.listed) == 0 && !a.public {
		return byDefault
	}
	return a.listed
}

// String lists what is allowed, for --check.
func (a Allowed) String() string {
	var texts []string
	for _, prefix := range a.prefixes() {
		texts = append(texts, prefix.String())
	}
	slices.Sort(texts)
	if a.public {
		texts = append([]string{"public addresses"}, texts...)
	}
	return strings.Join(texts, ", ")
}

// contains reports whether every address of inner is in outer.
func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
