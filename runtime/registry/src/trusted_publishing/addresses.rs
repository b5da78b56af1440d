//! Where this server goes by itself: to what the operator named, and beyond that only into the open internet.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use publaryn_core::BoxError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Names that may lie anywhere, because the operator wrote them down. A document that such a place serves may
/// name others, and those must not lead into the network that this server stands in.
#[derive(Debug, Clone)]
pub(super) struct Addresses(Arc<HashSet<String>>);

impl Addresses {
    pub fn named_by_operator<'a>(urls: impl IntoIterator<Item = &'a Url>) -> Self {
        Self(Arc::new(urls.into_iter().filter_map(|url| url.host_str().map(str::to_owned)).collect()))
    }

    /// Whether an address that was read in a document may be asked. Names are judged when they are resolved.
    pub fn allow(&self, url: &Url) -> bool {
        let is_named = url.host_str().is_some_and(|host| self.0.contains(host));
        let is_open = match url.host() {
            Some(Host::Ipv4(ip)) => is_public(ip.into()),
            Some(Host::Ipv6(ip)) => is_public(ip.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        };
        is_named || is_open
    }
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let is_named = self.0.contains(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<SocketAddr> = found.filter(|at| is_named || is_public(at.ip())).collect();
            if usable.is_empty() {
                return Err(Box::new(io::Error::other("the name leads to no public address")) as BoxError);
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// Whether anybody on the internet may be there (RFC 6890). When in doubt it is not.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // Global unicast without documentation, Teredo and other protocol assignments, and 6to4, which holds an IPv4
    // address.
    let is_assigned = first == 0x2001 && (second < 0x200 || second == 0xdb8);
    (0x2000..0x4000).contains(&first) && !is_assigned && first != 0x2002 && first != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_open_internet_is_public() {
        for public in ["1.1.1.1", "140.82.121.3", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.9.9",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn what_the_operator_named_may_be_anywhere() {
        let url = |text: &str| Url::parse(text).unwrap();
        let addresses = Addresses::named_by_operator([&url("https://10.0.0.7/x"), &url("https://git.internal")]);
        assert!(addresses.allow(&url("https://10.0.0.7/keys")));
        assert!(addresses.allow(&url("https://git.internal/keys")));
        assert!(addresses.allow(&url("https://1.1.1.1/keys")));
        assert!(!addresses.allow(&url("https://10.0.0.8/keys")));
        assert!(!addresses.allow(&url("https://[::1]/keys")));
    }
}
