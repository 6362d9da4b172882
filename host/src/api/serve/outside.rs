use crate::config::{ProxyHeader, ServerConfig, TrustedProxies};
use http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
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
    /// Reads the header of those who may be believed, and of nobody else.
    ///
    /// It is read from the right, where the proxy next to us wrote: the first address there that is not a trusted proxy's is
    /// who asks. What stands left of it is hearsay.
    pub(in crate::api) fn of(peer: &Peer, headers: &HeaderMap, server: &ServerConfig) -> Self {
        Self::told(peer, headers, &server.trusted_proxies, server.proxy_header)
    }

    fn told(peer: &Peer, headers: &HeaderMap, proxies: &TrustedProxies, header: ProxyHeader) -> Self {
        let is_trusted = if peer.is_unix { proxies.is_unix_trusted } else { proxies.has(peer.address) };
        if !is_trusted {
            return Self { address: peer.address, is_secure: peer.is_tls };
        }
        let Said { hops, protocol } = match header {
            ProxyHeader::XForwarded => x_forwarded(headers),
            ProxyHeader::Forwarded => forwarded(headers),
        };
        let mut address = peer.address;
        for hop in hops {
            // What is no address ends the chain: nobody to be believed wrote it.
            let Some(next) = parse(hop) else { break };
            address = next;
            if !proxies.has(next) {
                break;
            }
        }
        let is_secure = protocol.map_or(peer.is_tls, |protocol| protocol.eq_ignore_ascii_case("https"));
        Self { address, is_secure }
    }
}

/// What the proxies said: who came to each of them, the one next to us first, and what was spoken with that one.
#[derive(Default)]
struct Said<'h> {
    hops: Vec<&'h str>,
    protocol: Option<&'h str>,
}

fn x_forwarded(headers: &HeaderMap) -> Said<'_> {
    let lines: Vec<&str> =
        headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim).take(HOPS_MAX).collect();
    let protocols = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
    let protocol = protocols.and_then(|line| line.to_str().ok()?.rsplit(',').next().map(str::trim));
    Said { hops, protocol }
}

/// RFC 7239. A line that is not proper, and what stands before it, is hearsay.
fn forwarded(headers: &HeaderMap) -> Said<'_> {
    let mut said = Said::default();
    let lines = headers.get_all(FORWARDED).iter().rev();
    for (at, element) in lines.flat_map(|line| elements(line.to_str().unwrap_or_default())).take(HOPS_MAX).enumerate() {
        let named = |name: &str| {
            let found = element.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        if at == 0 {
            said.protocol = named("proto");
        }
        // A proxy that does not say who came to it, says that nobody knows.
        said.hops.push(named("for").unwrap_or_default());
    }
    said
}

/// The pairs of each element of a line, the last one first. One without a pair for a line that is not proper.
fn elements(line: &str) -> Vec<Vec<(&str, &str)>> {
    let Some(elements) = split(line, ',') else { return vec![Vec::new()] };
    let told = elements.into_iter().rev().filter(|element| !element.trim().is_empty());
    told.map(|element| pairs_of(element).unwrap_or_default()).collect()
}

fn pairs_of(element: &str) -> Option<Vec<(&str, &str)>> {
    let pairs = split(element, ';')?.into_iter().map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').map(|(name, value)| (name, unquoted(value)))).collect()
}

/// Addresses need no escapes inside of their quotes; what has one is none.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The parts between separators that stand outside of quotes. None when a quote is not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if is_quoted && c == '\\' {
            is_escaped = true;
        } else if c == '"' {
            is_quoted = !is_quoted;
        } else if c == separator && !is_quoted {
            parts.push(text.get(from..at)?);
            from = at + 1;
        }
    }
    parts.push(text.get(from..)?);
    (!is_quoted).then_some(parts)
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
        let proxies = proxies(&["10.0.0.0/8", "fd00::/8"], true);
        let seen = Outside::told(&peer, &headers, &proxies, ProxyHeader::XForwarded);
        (seen.address.to_string(), seen.is_secure)
    }

    /// The same with `Forwarded`, beside headers that say something else and are not read.
    fn seen_forwarded(peer: &str, lines: &[&str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_str(line).unwrap());
        }
        let peer = Peer { address: peer.parse().unwrap(), is_unix: false, is_tls: false };
        let proxies = proxies(&["10.0.0.0/8", "fd00::/8"], true);
        let seen = Outside::told(&peer, &headers, &proxies, ProxyHeader::Forwarded);
        (seen.address.to_string(), seen.is_secure)
    }

    #[test]
    fn forwarded_is_read_from_the_right_and_alone() {
        for (lines, expected) in [
            (&[][..], ("10.0.0.1", false)),
            (&["for=192.0.2.1"], ("192.0.2.1", false)),
            (&["For=192.0.2.1;Proto=https;by=10.0.0.1"], ("192.0.2.1", true)),
            (&["for=6.6.6.6;proto=https, for=192.0.2.1, for=\"[fd00::7]:80\";proto=http"], ("192.0.2.1", false)),
            (&["for=6.6.6.6", "for=\"[2001:db8::1]:4711\" ; proto=https"], ("2001:db8::1", true)),
            (&["for=192.0.2.1, for=unknown, for=10.0.0.2"], ("10.0.0.2", false)),
            (&["for=192.0.2.1, for=_hidden"], ("10.0.0.1", false)),
            (&["for=192.0.2.1, proto=https"], ("10.0.0.1", true)),
            (&["for=192.0.2.1, for=\"x"], ("10.0.0.1", false)),
            (&["for=192.0.2.1, \";for=6.6.6.6\"=1;for=10.0.0.2"], ("192.0.2.1", false)),
        ] {
            assert_eq!(seen_forwarded("10.0.0.1", lines), (expected.0.to_owned(), expected.1), "{lines:?}");
        }
        assert_eq!(
            seen_forwarded("192.0.2.9", &["for=127.0.0.1;proto=https"]),
            ("192.0.2.9".into(), false),
            "a stranger"
        );
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
            // A proxy appends what it says to the line, or writes one of its own.
            let told = format!("for={own}");
            prop_assert_eq!(seen_forwarded("10.0.0.1", &[&said, &told]).0, own.to_string());
            prop_assert_eq!(seen_forwarded(&own.to_string(), &[&said]).0, own.to_string());
        }
    }
}
