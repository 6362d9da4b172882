use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Whether a web page with this origin may open the feed. No `Origin`: not a web page.
///
/// A page of the server itself may, seen through a proxy that speaks TLS or directly; others only when listed. Names are
/// compared as browsers send them, without regard to case.
pub(super) fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    if allowed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(Ok(host)), None) = (hosts.next().map(|host| host.to_str()), hosts.next()) else { return false };
    [("http://", ":80"), ("https://", ":443")].into_iter().any(|(scheme, port)| {
        let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
        origin.strip_prefix(scheme).is_some_and(|authority| !authority.is_empty() && bare(authority) == bare(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn is_allowed(host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        origin_is_allowed(&headers, &["https://console.example".to_owned()])
    }

    #[test]
    fn the_servers_own_pages_and_listed_ones_may() {
        assert!(is_allowed("a.example:8642", "http://a.example:8642"));
        assert!(is_allowed("A.Example", "http://a.example:80"));
        assert!(is_allowed("a.example", "https://a.example"));
        assert!(is_allowed("[::1]:8642", "http://[::1]:8642"));
        assert!(is_allowed("a.example", "https://console.example"));
    }

    #[test]
    fn look_alikes_may_not() {
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
            assert!(!is_allowed("a.example:8642", origin), "{origin}");
        }
    }

    #[test]
    fn doubled_headers_are_refused_and_a_missing_origin_is_not() {
        let mut headers = HeaderMap::new();
        assert!(origin_is_allowed(&headers, &[]));
        headers.append(ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!origin_is_allowed(&headers, &[]), "no host to compare with");
        headers.append(HOST, HeaderValue::from_static("a"));
        assert!(origin_is_allowed(&headers, &[]));
        headers.append(HOST, HeaderValue::from_static("b"));
        assert!(!origin_is_allowed(&headers, &[]));
        headers.remove(HOST);
        headers.append(HOST, HeaderValue::from_static("a"));
        headers.append(ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!origin_is_allowed(&headers, &[]));
    }
}
