//! The address of a server, as a user writes it. Pure.

use super::error::CliError;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a client looks when nobody said anything else.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:8642";

/// What RFC 3986 lets stand in a path segment without escaping, and no more.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `http://HOST[:PORT][/PREFIX]`, the same with `https`, or `unix:/PATH`; in one spelling per server, so that it can be a
/// key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    way: Way,
    prefix: String,
    /// A file with the authorities to trust instead of the machine's.
    authorities: Option<PathBuf>,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// A port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// With TLS.
        is_tls: bool,
    },
    /// A socket on this machine.
    Unix {
        /// Absolute.
        path: PathBuf,
    },
}

impl ServerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`CliError::Usage`] says what is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let usage = |message: String| CliError::usage(message, format!("write it like {DEFAULT_SERVER}"));
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new("/").join(path.trim_start_matches('/'));
            if !text.starts_with("unix:/") || path == Path::new("/") {
                return Err(usage(format!(
                    "`{text}` names no socket; write the whole path, as in unix:/run/omnivisor.sock"
                )));
            }
            return Ok(Self { way: Way::Unix { path }, prefix: String::new(), authorities: None });
        }
        let uri: Uri = text.parse().map_err(|_| usage(format!("`{text}` is not the address of a server")))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => return Err(usage(format!("`{text}`: the scheme `{other}` is not known"))),
            None => return Err(usage(format!("`{text}` has no scheme"))),
        };
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
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { way: Way::Tcp { host, port, is_tls }, prefix, authorities: None })
    }

    /// The same, with the authorities of this file trusted instead of the machine's.
    pub(crate) fn trusting(self, authorities: Option<PathBuf>) -> Self {
        Self { authorities, ..self }
    }

    /// How it is reached.
    pub(crate) const fn way(&self) -> &Way {
        &self.way
    }

    /// The file with the authorities to trust, if it is not the machine's that are.
    pub(crate) fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// What stands in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        match &self.way {
            Way::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Way::Tcp { host, port, .. } => format!("{host}:{port}"),
            Way::Unix { .. } => "localhost".to_owned(),
        }
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

    /// True when nobody on the way can read what is sent there: it does not leave this machine, or TLS is spoken.
    pub(crate) fn is_private(&self) -> bool {
        match &self.way {
            Way::Unix { .. } | Way::Tcp { is_tls: true, .. } => true,
            Way::Tcp { host, .. } => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Tcp { is_tls, .. } => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
            }
            Way::Unix { path } => write!(f, "unix:{}", path.display()),
        }
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
        assert_eq!(shown("https://Example.org/"), "https://example.org:443");
        assert_eq!(shown("unix:/run/o.sock"), "unix:/run/o.sock");
        assert_eq!(shown("unix:///run/o.sock"), "unix:/run/o.sock");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let refused = |text: &str| ServerUrl::parse(text).expect_err(text).to_string();
        assert!(refused("unix:o.sock").contains("the whole path"));
        assert!(refused("127.0.0.1:8642").contains("scheme"));
        assert!(refused("ftp://x").contains("ftp"));
        assert!(!refused("http://ann:hunter2@x/").contains("hunter2"));
        for text in ["", "unix:", "unix:/", "http://", "http://x:0", "http://x:99999", "http://x/?a=b", "http://a b"] {
            refused(text);
        }
    }

    #[test]
    fn names_are_escaped_in_paths() {
        let url = ServerUrl::parse("http://x/p").expect("an address");
        assert_eq!(url.target(&["processes", "a b:web/1"], "tail=5"), "/p/processes/a%20b:web%2F1?tail=5");
        assert_eq!(url.target(&["ä?#%"], ""), "/p/%C3%A4%3F%23%25");
        let is_private = |text| ServerUrl::parse(text).expect("an address").is_private();
        assert!(["http://127.0.0.9", "https://10.0.0.9", "unix:/o"].into_iter().all(is_private));
        assert!(!is_private("http://10.0.0.9"));
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
