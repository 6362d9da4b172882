//! Which web page a request comes from, as far as its browser says. One function for REST and the feed.

use crate::auth::Page;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Uri};
use std::sync::Arc;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What pages are ours.
#[derive(Debug, Clone)]
pub struct Ours {
    /// Origins besides the one that the request itself was sent to, e.g. `https://console.example`: where users reach this
    /// server, whatever a proxy makes of the `Host`.
    pub listed: Arc<[String]>,
    /// The user's own connection is encrypted: no page that came in the open is ours then.
    pub is_secure: bool,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    /// A page of ours sent it, its browser says.
    Ours,
    /// Nothing speaks of a page: a program, or somebody who typed an address.
    Unsaid,
    /// A foreign page sent it, or what is said of it makes no sense.
    Elsewhere,
}

impl Ours {
    /// Reads `Origin`, and without it `Sec-Fetch-Site`, which no page can set. Names are compared as browsers send them,
    /// without regard to case; with the `Host`, which over HTTP/2 is the address's own.
    pub(super) fn whence(&self, headers: &HeaderMap, uri: &Uri) -> Whence {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return by_site(headers) };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return Whence::Elsewhere };
        if self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
            return Whence::Ours;
        }
        let is_own = host(headers, uri).is_some_and(|host| self.is_of(origin, host));
        if is_own { Whence::Ours } else { Whence::Elsewhere }
    }

    /// The page that a request comes from, as tickets know pages.
    pub(super) fn page(&self, headers: &HeaderMap, uri: &Uri) -> Page {
        match (self.whence(headers, uri), headers.get(ORIGIN).and_then(|origin| origin.to_str().ok())) {
            (Whence::Ours, Some(origin)) => Page::Named(origin.to_ascii_lowercase()),
            (Whence::Ours, None) => Page::Own,
            (Whence::Unsaid, _) => Page::None,
            (Whence::Elsewhere, _) => Page::Foreign,
        }
    }

    /// Whether a page of this origin is one of this host, seen through a proxy that speaks TLS or directly.
    fn is_of(&self, origin: &str, host: &str) -> bool {
        [("http://", ":80"), ("https://", ":443")].into_iter().skip(usize::from(self.is_secure)).any(
            |(scheme, port)| {
                let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
                origin
                    .strip_prefix(scheme)
                    .is_some_and(|authority| !authority.is_empty() && bare(authority) == bare(host))
            },
        )
    }
}

/// Whom the request was sent to, if that is said once.
fn host<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (Some(_), Some(_)) => None,
        (None, _) => uri.authority().map(http::uri::Authority::as_str),
    }
}

fn by_site(headers: &HeaderMap) -> Whence {
    let mut said = headers.get_all(SEC_FETCH_SITE).iter().map(http::HeaderValue::as_bytes);
    match (said.next(), said.next()) {
        (None, _) | (Some(b"none"), None) => Whence::Unsaid,
        (Some(b"same-origin"), None) => Whence::Ours,
        (Some(_), _) => Whence::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn ours(is_secure: bool) -> Ours {
        Ours { listed: Arc::from(["https://console.example".to_owned()]), is_secure }
    }

    fn whence(lines: &[(&'static str, &str)]) -> Whence {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        ours(false).whence(&headers, &Uri::from_static("/x"))
    }

    fn from(host: &str, origin: &str) -> Whence {
        whence(&[("host", host), ("origin", origin)])
    }

    #[test]
    fn the_servers_own_pages_and_listed_ones_are_ours() {
        assert_eq!(from("a.example:8642", "http://a.example:8642"), Whence::Ours);
        assert_eq!(from("A.Example", "http://a.example:80"), Whence::Ours);
        assert_eq!(from("a.example", "https://a.example"), Whence::Ours);
        assert_eq!(from("[::1]:8642", "http://[::1]:8642"), Whence::Ours);
        assert_eq!(from("a.example", "https://console.example"), Whence::Ours);
    }

    #[test]
    fn look_alikes_are_not() {
        for origin in [
            "null",
            "",
            "http://",
            "http://evil.example",
            "http://a.example",
            "http://a.example:8643",
            "http://a.example.:8642",
            "http://a.example:8642.evil.example",
            "http://ann@a.example:8642",
            "http://a.example:8642/",
            "ftp://a.example:8642",
            "a.example:8642",
            "https://console.example.evil.example",
            "http://console.example",
        ] {
            assert_eq!(from("a.example:8642", origin), Whence::Elsewhere, "{origin}");
        }
    }

    #[test]
    fn on_an_encrypted_connection_no_page_that_came_in_the_open_is_ours() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("a.example"));
        headers.insert(ORIGIN, HeaderValue::from_static("http://a.example"));
        assert_eq!(ours(false).whence(&headers, &Uri::from_static("/x")), Whence::Ours);
        assert_eq!(ours(true).whence(&headers, &Uri::from_static("/x")), Whence::Elsewhere);
        headers.insert(ORIGIN, HeaderValue::from_static("https://a.example"));
        assert_eq!(ours(true).whence(&headers, &Uri::from_static("/x")), Whence::Ours);
    }

    #[test]
    fn over_http2_the_address_says_the_host() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("https://a.example"));
        assert_eq!(ours(true).whence(&headers, &Uri::from_static("https://a.example/x")), Whence::Ours);
        assert_eq!(ours(true).whence(&headers, &Uri::from_static("https://b.example/x")), Whence::Elsewhere);
    }

    #[test]
    fn without_an_origin_the_browser_says_of_which_site_the_page_is() {
        assert_eq!(whence(&[]), Whence::Unsaid);
        assert_eq!(whence(&[("sec-fetch-site", "none")]), Whence::Unsaid);
        assert_eq!(whence(&[("sec-fetch-site", "same-origin")]), Whence::Ours);
        for site in ["same-site", "cross-site", "Same-Origin", "", "x"] {
            assert_eq!(whence(&[("sec-fetch-site", site)]), Whence::Elsewhere, "{site}");
        }
        assert_eq!(whence(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]), Whence::Elsewhere);
        let both = [("host", "a"), ("origin", "http://evil"), ("sec-fetch-site", "same-origin")];
        assert_eq!(whence(&both), Whence::Elsewhere, "an origin says more");
    }

    #[test]
    fn doubled_headers_are_nobodys() {
        assert_eq!(whence(&[("origin", "http://a")]), Whence::Elsewhere, "no host to compare with");
        assert_eq!(whence(&[("origin", "http://a"), ("host", "a")]), Whence::Ours);
        assert_eq!(whence(&[("origin", "http://a"), ("host", "a"), ("host", "b")]), Whence::Elsewhere);
        assert_eq!(whence(&[("origin", "http://a"), ("origin", "http://a"), ("host", "a")]), Whence::Elsewhere);
    }
}
