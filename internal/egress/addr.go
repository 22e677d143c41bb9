package egress

import "net/netip"

// Networks that no request of this server may reach. They are the parts of the
// IANA special-purpose address registries (RFC 6890 and its updates) that are
// not globally reachable, the transition mechanisms that carry an IPv4 address
// inside an IPv6 one, and the metadata services of cloud providers that live
// on otherwise public addresses.
var forbiddenPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),  // this network (RFC 791)
	netip.MustParsePrefix("10.0.0.0/8"), // private use (RFC 1918)
	// carrier-grade NAT (RFC 6598); also Alibaba's metadata service
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),      // loopback (RFC 1122)
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's host service
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local (RFC 3927); the usual metadata address
	netip.MustParsePrefix("172.16.0.0/12"),    // private use (RFC 1918)
	// protocol assignments (RFC 6890); Oracle's metadata service
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation (RFC 5737)
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays (RFC 7526)
	netip.MustParsePrefix("192.168.0.0/16"),  // private use (RFC 1918)
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking (RFC 2544)
	netip.MustParsePrefix("198.51.100.0/24"), // documentation (RFC 5737)
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation (RFC 5737)
	netip.MustParsePrefix("224.0.0.0/4"),     // multicast (RFC 5771)
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved and limited broadcast (RFC 1112)

	// protocol assignments (RFC 2928): Teredo, ORCHID, benchmarking
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), // documentation (RFC 3849)
	netip.MustParsePrefix("2002::/16"),     // 6to4 (RFC 3056)
	netip.MustParsePrefix("3fff::/20"),     // documentation (RFC 9637)
}

var (
	// globalUnicast is the only part of IPv6 that is handed out for the public
	// Internet (RFC 4291). What lies outside is refused without being listed:
	// loopback, mapped and compatible IPv4, unique local, link-local, multicast.
	globalUnicast = netip.MustParsePrefix("2000::/3")
	// nat64 is the well-known prefix of RFC 6052. A host that has IPv6 only
	// reaches the whole IPv4 Internet through it, so the embedded address decides.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// Public reports whether addr belongs to the public Internet, that is, whether
// a request that a stranger caused may be sent to it. Mapped IPv4 addresses and
// addresses with a zone are never public.
func Public(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Is4In6() {
		return false
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return false
	}
	for _, p := range forbiddenPrefixes {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
