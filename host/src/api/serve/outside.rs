use crate::config::TrustedProxies;
use http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Proxies behind each other that are looked through.
const HOPS_MAX: usize = 16;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Peer {
    /// Its address; that of loopback for a unix socket.
    pub(in crate::api) address: IpAddr,
    /// It came through a unix socket.
    pub(in crate::api) is_unix: bool,
    /// It speaks TLS with us.
    pub(in crate::api) is_tls: bool,
}

/// Where a request came from, as far as it can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Outside {
    /// Who asks: what limits, lock-outs and the audit go by.
    pub(in crate::api) address: IpAddr,
    /// The user's own connection is encrypted, up to us or up to a trusted proxy.
    pub(in crate::api) is_secure: bool,
}

impl Outside {
    /// Reads the headers of those who may be believed, and of nobody else.
    ///
    /// `X-Forwarded-For` is read from the right, where the proxy next to us wrote: the first address there that is not a
    /// trusted proxy's is who asks. What stands left of it is hearsay.
    pub(in crate::api) fn of(peer: &Peer, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let is_trusted = if peer.is_unix { proxies.is_unix_trusted } else { proxies.has(peer.address) };
        if !is_trusted {
            return Self { address: peer.address, is_secure: peer.is_tls };
        }
        let lines: Vec<&str> =
            headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default()).collect();
        let mut address = peer.address;
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS_MAX) {
            // What is no address ends the chain: nobody to be believed wrote it.
            let Some(next) = parse(hop.trim()) else { break };
            address = next;
            if !proxies.has(next) {
                break;
            }
        }
        let protocols = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
        let protocol = protocols.and_then(|line| line.to_str().ok()?.rsplit(',').next().map(str::trim));
        let is_secure = protocol.map_or(peer.is_tls, |protocol| protocol.eq_ignore_ascii_case("https"));
        Self { address, is_secure }
    }
}

/// An address, with or without a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn proxies(networks: &[&str], is_unix_trusted: bool) -> TrustedProxies {
        TrustedProxies { networks: networks.iter().map(|text| text.parse().unwrap()).collect(), is_unix_trusted }
    }

    fn seen(peer: &str, lines: &[&str], protocol: Option<&str>) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        if let Some(protocol) = protocol {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_str(protocol).unwrap());
        }
        let (is_unix, address) = (peer == "unix", if peer == "unix" { "127.0.0.1" } else { peer });
        let peer = Peer { address: address.parse().unwrap(), is_unix, is_tls: false };
        let seen = Outside::of(&peer, &headers, &proxies(&["10.0.0.0/8", "fd00::/8"], true));
        (seen.address.to_string(), seen.is_secure)
    }

    #[test]
    fn a_strangers_word_counts_for_nothing() {
        assert_eq!(seen("192.0.2.9", &["127.0.0.1"], Some("https")), ("192.0.2.9".into(), false));
        assert_eq!(seen("127.0.0.1", &["192.0.2.1"], Some("https")), ("127.0.0.1".into(), false));
    }

    #[test]
    fn the_right_most_address_that_is_no_proxys_is_who_asks() {
        assert_eq!(seen("10.0.0.1", &[], None), ("10.0.0.1".into(), false));
        assert_eq!(seen("10.0.0.1", &["192.0.2.1"], Some("https")), ("192.0.2.1".into(), true));
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 192.0.2.1, 10.9.9.9"], None).0, "192.0.2.1", "6.6.6.6 is hearsay");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "192.0.2.1", "10.9.9.9,fd00::7"], None).0, "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["192.0.2.1:4711"], None).0, "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::1]:80"], None).0, "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["::ffff:192.0.2.1"], None).0, "192.0.2.1");
        assert_eq!(seen("unix", &["192.0.2.1"], Some("http, https")), ("192.0.2.1".into(), true));
        assert_eq!(seen("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"], None).0, "10.0.0.2", "nobody to be believed");
        assert_eq!(seen("10.0.0.1", &["10.0.0.3, 10.0.0.2"], None).0, "10.0.0.3", "a proxy asks for itself");
    }

    proptest! {
        /// Whatever a stranger writes in front, the address that the trusted proxy added is the one that counts.
        #[test]
        fn nothing_that_a_client_writes_itself_moves_its_address(said in "[ -~]{0,60}", own in any::<[u8; 4]>()) {
            prop_assume!(own[0] != 10);
            let own = IpAddr::from(own);
            let line = format!("{said}, {own}");
            prop_assert_eq!(seen("10.0.0.1", &[&line], None).0, own.to_string());
            prop_assert_eq!(seen(&own.to_string(), &[&said], None).0, own.to_string());
        }
    }
}
