//! What kind of network an address belongs to, whatever its spelling. Refuses to know rules: `policy`
//! decides which kinds a rule grants.
//!
//! The tables are those of RFC 6890 and the IANA special-purpose registries, plus the addresses under
//! which clouds hand out credentials. IPv6 forms that carry an IPv4 address are judged by what they
//! carry, since a translator on the way would connect to that.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of network that an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Globally reachable unicast.
    Public,
    /// This host, by 127.0.0.0/8 or ::1.
    Loopback,
    /// An address of this host on one of its networks.
    ThisHost,
    /// RFC 1918, or the deprecated site-local IPv6 range.
    Private,
    /// Carrier-grade NAT, 100.64.0.0/10 (RFC 6598).
    Shared,
    /// 169.254.0.0/16 or fe80::/10.
    LinkLocal,
    /// fc00::/7 (RFC 4193).
    UniqueLocal,
    /// Set aside for documentation.
    Documentation,
    /// Set aside for benchmarks, 198.18.0.0/15 (RFC 2544) or 2001:2::/48.
    Benchmark,
    /// Reserved, deprecated, or a tunnel that hides the real destination.
    Reserved,
    /// Where a cloud hands out machine credentials.
    Metadata,
    /// 0.0.0.0/8 or ::, which the kernel takes for this host.
    Unspecified,
    /// A multicast group.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressClass::Public => "a public address",
            AddressClass::Loopback => "a loopback address",
            AddressClass::ThisHost => "an address of this host",
            AddressClass::Private => "a private address",
            AddressClass::Shared => "a carrier-grade NAT address",
            AddressClass::LinkLocal => "a link-local address",
            AddressClass::UniqueLocal => "a unique-local address",
            AddressClass::Documentation => "a documentation address",
            AddressClass::Benchmark => "a benchmark address",
            AddressClass::Reserved => "a reserved address",
            AddressClass::Metadata => "a cloud metadata address",
            AddressClass::Unspecified => "an unspecified address",
            AddressClass::Multicast => "a multicast address",
            AddressClass::Broadcast => "the broadcast address",
        })
    }
}

impl AddressClass {
    /// The class of `ip`. Never [`AddressClass::ThisHost`]: that takes asking the kernel.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        }
    }
}

/// One spelling for an address: IPv4-mapped IPv6 becomes IPv4, which is what the kernel makes of it.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The IPv4 address that `ip` is or carries: mapped, compatible, translated, NAT64, 6to4 or ISATAP.
pub(crate) fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let tail = || v4_from(s[6], s[7]);
    match s {
        // ::ffff:a.b.c.d (mapped) and ::ffff:0:a.b.c.d (translated, RFC 7915).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(tail()),
        // ::a.b.c.d (compatible, deprecated); :: and ::1 are not of this kind.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => Some(tail()),
        // 64:ff9b::/96, the well-known NAT64 prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(tail()),
        // 2002:a.b.c.d::/48, 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4_from(high, low)),
        // Interface identifier 0:5efe:a.b.c.d or 200:5efe:a.b.c.d, ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x0200, 0x5efe, ..] => Some(tail()),
        _ => None,
    }
}

fn v4_from(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

fn of_v4(ip: Ipv4Addr) -> AddressClass {
    match ip.octets() {
        [255, 255, 255, 255] => AddressClass::Broadcast,
        // AWS, GCP, Azure, DigitalOcean and others; ECS tasks and EKS pods; Alibaba; Oracle; the
        // platform endpoint of Azure, which lies in public space.
        [169, 254, 169 | 170, _] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            AddressClass::Metadata
        }
        [0, ..] => AddressClass::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::Shared,
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18..=19, ..] => AddressClass::Benchmark,
        // IETF protocol assignments; the retired 6to4 relay anycast; class E.
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => AddressClass::Reserved,
        [224..=239, ..] => AddressClass::Multicast,
        _ => AddressClass::Public,
    }
}

fn of_v6(ip: Ipv6Addr) -> AddressClass {
    if let Some(v4) = embedded_v4(ip) {
        let class = of_v4(v4);
        let is_nat64 = ip.segments()[0] == 0x64;
        let is_mapped = ip.to_ipv4_mapped().is_some();
        // A public address in a wrapping that the internet no longer carries is refused as such; ISATAP
        // looks like any interface identifier, so there only what it hides counts.
        return match class {
            AddressClass::Public if is_nat64 || is_mapped => AddressClass::Public,
            AddressClass::Public if ip.segments()[5] == 0x5efe => of_plain_v6(ip),
            AddressClass::Public => AddressClass::Reserved,
            hidden => hidden,
        };
    }
    of_plain_v6(ip)
}

fn of_plain_v6(ip: Ipv6Addr) -> AddressClass {
    let s = ip.segments();
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // The metadata services of AWS and GCP.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254 | 0x0253 | 0x0023]
        | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => AddressClass::Metadata,
        [0xfc00..=0xfdff, ..] => AddressClass::UniqueLocal,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => AddressClass::Documentation,
        [0x2001, 0x0002, 0, ..] => AddressClass::Benchmark,
        // 2001::/23 is for protocols, Teredo's tunnels (RFC 4380) among them.
        [0x2001, 0..=0x01ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First, last and neighbouring addresses of every range.
    const RANGES: &[(AddressClass, &[&str])] = &[
        (
            AddressClass::Public,
            &[
                "1.1.1.1",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
            ],
        ),
        (
            AddressClass::Public,
            &[
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "172.15.255.255",
            ],
        ),
        (
            AddressClass::Public,
            &[
                "172.32.0.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
            ],
        ),
        (
            AddressClass::Public,
            &[
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2a00::1",
            ],
        ),
        (
            AddressClass::Loopback,
            &["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"],
        ),
        (
            AddressClass::Private,
            &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"],
        ),
        (
            AddressClass::Private,
            &["192.168.0.0", "192.168.255.255", "fec0::1", "feff:ffff::"],
        ),
        (AddressClass::Shared, &["100.64.0.0", "100.127.255.255"]),
        (
            AddressClass::LinkLocal,
            &["169.254.0.0", "169.254.168.255", "169.254.255.255"],
        ),
        (AddressClass::LinkLocal, &["fe80::1", "febf:ffff::1"]),
        (AddressClass::UniqueLocal, &["fc00::", "fdff:ffff::1"]),
        (
            AddressClass::Documentation,
            &["192.0.2.0", "198.51.100.255", "203.0.113.7"],
        ),
        (AddressClass::Documentation, &["2001:db8::1", "3fff:fff::1"]),
        (
            AddressClass::Benchmark,
            &["198.18.0.0", "198.19.255.255", "2001:2::1"],
        ),
        (
            AddressClass::Reserved,
            &["240.0.0.0", "255.255.255.254", "192.0.0.1", "192.88.99.1"],
        ),
        (
            AddressClass::Reserved,
            &[
                "100::1",
                "2001::1",
                "4000::1",
                "5f00::1",
                "64:ff9b:1::1",
                "1::",
            ],
        ),
        (
            AddressClass::Metadata,
            &["169.254.169.254", "169.254.170.2", "100.100.100.200"],
        ),
        (
            AddressClass::Metadata,
            &[
                "192.0.0.192",
                "168.63.129.16",
                "fd00:ec2::254",
                "fd20:ce::254",
            ],
        ),
        (
            AddressClass::Unspecified,
            &["0.0.0.0", "0.255.255.255", "::"],
        ),
        (
            AddressClass::Multicast,
            &["224.0.0.0", "239.255.255.255", "ff02::1"],
        ),
        (AddressClass::Broadcast, &["255.255.255.255"]),
    ];

    #[test]
    fn every_range_is_told_by_its_first_and_last_address() {
        for (class, addresses) in RANGES {
            for address in *addresses {
                let ip: IpAddr = address.parse().unwrap();
                assert_eq!(AddressClass::of(ip), *class, "{address}");
            }
        }
    }

    #[test]
    fn ipv6_that_carries_ipv4_is_judged_by_what_it_carries() {
        use AddressClass::*;
        for (inner, class) in [
            ("127.0.0.1", Loopback),
            ("10.0.0.1", Private),
            ("169.254.169.254", Metadata),
            ("100.64.0.1", Shared),
            ("0.0.0.0", Unspecified),
        ] {
            let v4: Ipv4Addr = inner.parse().unwrap();
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let mut forms = vec![
                format!("::ffff:{inner}"),
                format!("::ffff:0:{inner}"),
                format!("64:ff9b::{inner}"),
                format!("2002:{high:x}:{low:x}::1"),
                format!("2a00:1::5efe:{inner}"),
                format!("2a00:1::200:5efe:{inner}"),
            ];
            // ::0.0.0.0 is :: itself, which is unspecified already.
            forms.push(format!("::{inner}"));
            for form in forms {
                let ip: IpAddr = form.parse().unwrap();
                assert_eq!(AddressClass::of(ip), class, "{form}");
            }
        }
    }

    #[test]
    fn public_ipv4_in_ipv6_is_public_only_where_the_internet_carries_it() {
        for (form, class) in [
            ("::ffff:8.8.8.8", AddressClass::Public),
            ("64:ff9b::8.8.8.8", AddressClass::Public),
            ("2a00:1::5efe:8.8.8.8", AddressClass::Public),
            ("::8.8.8.8", AddressClass::Reserved),
            ("2002:808:808::1", AddressClass::Reserved),
            ("fd00:1::5efe:8.8.8.8", AddressClass::UniqueLocal),
        ] {
            assert_eq!(AddressClass::of(form.parse().unwrap()), class, "{form}");
        }
    }
}
