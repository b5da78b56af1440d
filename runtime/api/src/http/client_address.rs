//! Whose address a request counts under: the peer's, or the client's as our own proxies name it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use publaryn_protocol::forwarded_parameter;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of `server.trusted_proxies`.
#[derive(Debug, Clone)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The right-most hop that is not one of ours; everything left of it is hearsay.
    ///
    /// A hop that cannot be read ends the walk: what stands left of it may be the client's own words. Proxies that
    /// append to `X-Forwarded-For` pass a client's `Forwarded` on as it is, so the latter counts only where it is alone.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if headers.contains_key(FORWARDED_FOR) {
            self.walk(peer, elements(headers, &FORWARDED_FOR).map(hop))
        } else {
            let named = |element| hop(forwarded_parameter(element?, "for"));
            self.walk(peer, elements(headers, &header::FORWARDED).map(named))
        }
    }

    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            if !self.contain(client) {
                break;
            }
            match hop {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// Whether somebody passed the request on, ours or not.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED)
}

/// The elements of a list over all its header lines, the last one first; `None` for what is no text.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    lines.into_iter().rev().flat_map(|line| match line.to_str() {
        Ok(text) => text.rsplit(',').map(Some).collect(),
        Err(_) => vec![None],
    })
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn hop(text: Option<&str>) -> Option<IpAddr> {
    let text = text?.trim();
    let bare = || text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse::<IpAddr>();
    let address = text.parse::<SocketAddr>().map(|with_port| with_port.ip()).or_else(|_| bare());
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_not_ours() {
        let by = |value| client("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(by("198.51.100.7, 192.0.2.1"), "192.0.2.1");
        assert_eq!(by("198.51.100.7, 192.0.2.1, 10.0.0.2"), "192.0.2.1");
        assert_eq!(by("10.0.0.3, 10.0.0.2"), "10.0.0.3");
        let lines = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "192.0.2.1,10.0.0.2")];
        assert_eq!(client("10.0.0.1", &lines), "192.0.2.1");
        assert_eq!(client("203.0.113.9", &[("x-forwarded-for", "192.0.2.1")]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn hops_carry_ports_and_brackets() {
        let by = |value| client("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(by("198.51.100.7, 192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(by("198.51.100.7, [2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(by("198.51.100.7, [2001:db8::1]"), "2001:db8::1");
        assert_eq!(by("198.51.100.7, ::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(by("192.0.2.1, ::ffff:10.0.0.2"), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
    }

    #[test]
    fn nothing_left_of_an_unreadable_hop_is_believed() {
        let by = |value| client("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(by("198.51.100.7, unknown"), "10.0.0.1");
        assert_eq!(by("198.51.100.7, _hidden, 10.0.0.2"), "10.0.0.2");
        assert_eq!(by("198.51.100.7, "), "10.0.0.1");
    }

    #[test]
    fn forwarded_names_the_client_where_it_is_alone() {
        let by = |value| client("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(by("for=198.51.100.7, proto=https;For=192.0.2.1;by=10.0.0.1"), "192.0.2.1");
        assert_eq!(by("for=198.51.100.7, for=\"[2001:db8::1]:4711\", for=10.0.0.2"), "2001:db8::1");
        assert_eq!(by("for=\"a, for=198.51.100.7, for=192.0.2.1"), "192.0.2.1");
        assert_eq!(by("for=198.51.100.7, proto=https"), "10.0.0.1");
        let both = [("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &both), "192.0.2.1");
    }
}
