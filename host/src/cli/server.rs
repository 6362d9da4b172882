//! The address of a server, as a user writes it. Pure.

use super::error::CliError;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;

/// Where a client looks when nobody said anything else.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:8642";

/// What RFC 3986 lets stand in a path segment without escaping, and no more.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `http://HOST[:PORT][/PREFIX]`, in one spelling per server, so that it can be a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    host: String,
    port: u16,
    prefix: String,
}

impl ServerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`CliError::Usage`] says what is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let usage = |message: String| CliError::usage(message, format!("write it like {DEFAULT_SERVER}"));
        let uri: Uri = text.trim().parse().map_err(|_| usage(format!("`{text}` is not the address of a server")))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(usage(format!("`{text}`: https is not spoken here; TLS comes with the edge")));
            }
            Some(other) => return Err(usage(format!("`{text}`: the scheme `{other}` is not known"))),
            None => return Err(usage(format!("`{text}` has no scheme"))),
        }
        let authority = uri.authority().ok_or_else(|| usage(format!("`{text}` names no host")))?;
        if authority.as_str().contains('@') {
            // The text may hold a password, so it is not repeated.
            return Err(usage("a server's address holds no user name; log in with `omnivisor login`".to_owned()));
        }
        if uri.query().is_some() {
            return Err(usage(format!("`{text}`: a server's address ends before `?`")));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let has_port = authority.as_str().len() > authority.host().len();
        if host.is_empty() || has_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(usage(format!("`{text}` names no host and port that can be called")));
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { host, port: authority.port_u16().unwrap_or(80), prefix })
    }

    /// Name or address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What stands in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }

    /// The target of a request: `segments` are names as they are, and come out escaped; `query` is appended as it is.
    pub(crate) fn target(&self, segments: &[&str], query: &str) -> String {
        let mut target = self.prefix.clone();
        for segment in segments {
            target.push('/');
            // A process is `group:name`. The first colon is ours and stays readable, as in the documentation.
            match segment.split_once(':') {
                Some((group, name)) => {
                    target.extend(utf8_percent_encode(group, SEGMENT));
                    target.push(':');
                    target.extend(utf8_percent_encode(name, SEGMENT));
                }
                None => target.extend(utf8_percent_encode(segment, SEGMENT)),
            }
        }
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        target
    }

    /// True when what is sent there does not leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_server_has_one_spelling() {
        let shown = |text| ServerUrl::parse(text).map(|url| url.to_string()).expect(text);
        assert_eq!(shown("http://Example.org"), "http://example.org:80");
        assert_eq!(shown("http://example.org:80/"), "http://example.org:80");
        assert_eq!(shown(" http://[::1]:8642 "), "http://[::1]:8642");
        assert_eq!(shown("http://proxy/fleet/"), "http://proxy:80/fleet");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let refused = |text: &str| ServerUrl::parse(text).expect_err(text).to_string();
        assert!(refused("https://example.org").contains("TLS comes with the edge"));
        assert!(refused("127.0.0.1:8642").contains("scheme"));
        assert!(refused("ftp://x").contains("ftp"));
        assert!(!refused("http://ann:hunter2@x/").contains("hunter2"));
        for text in ["", "http://", "http://x:0", "http://x:99999", "http://x/?a=b", "http://a b"] {
            refused(text);
        }
    }

    #[test]
    fn names_are_escaped_in_paths() {
        let url = ServerUrl::parse("http://x/p").expect("an address");
        assert_eq!(url.target(&["processes", "a b:web/1"], "tail=5"), "/p/processes/a%20b:web%2F1?tail=5");
        assert_eq!(url.target(&["ä?#%"], ""), "/p/%C3%A4%3F%23%25");
        assert!(ServerUrl::parse("http://127.0.0.9").expect("an address").is_loopback());
        assert!(!ServerUrl::parse("http://10.0.0.9").expect("an address").is_loopback());
    }

    proptest! {
        #[test]
        fn a_name_survives_its_way_into_a_path_and_out(group in "[^:]{1,20}", name in ".{1,20}") {
            let url = ServerUrl::parse(DEFAULT_SERVER).expect("an address");
            let target = url.target(&[&format!("{group}:{name}")], "");
            prop_assert!(target.parse::<Uri>().is_ok(), "{target}");
            prop_assert_eq!(target.matches('/').count(), 1);
            let back = percent_encoding::percent_decode_str(&target[1..]).decode_utf8().expect("UTF-8").into_owned();
            prop_assert_eq!(back, format!("{group}:{name}"));
        }
    }
}
