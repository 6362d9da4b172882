//! `[[listen]]`: further places where requests come in; and which proxies in front of them are believed.

use crate::config::check::check_path;
use crate::config::section::{Report, Section};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

const LISTENERS_MAX: usize = 16;
const PROXIES_MAX: usize = 64;
const BASE_PATH_BYTES_MAX: usize = 128;
/// For the owner alone.
const SOCKET_MODE: u32 = 0o600;

/// `[[listen]]`: one place where requests come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// `address` or `path`.
    pub place: ListenPlace,
    /// `certificate_file` with `key_file`.
    pub tls: Option<TlsFiles>,
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenPlace {
    /// `address`: `IP:PORT`.
    Tcp(SocketAddr),
    /// `path`: a unix socket.
    Unix {
        /// Absolute.
        path: PathBuf,
        /// `mode`, default `"600"`: the permissions of the socket, octal.
        mode: u32,
    },
}

impl std::fmt::Display for ListenPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A certificate with its key, both PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `certificate_file`: the server's own certificate first, then those that lead to an authority.
    pub certificate: PathBuf,
    /// `key_file`
    pub key: PathBuf,
}

/// `trusted_proxies`: who may say in a header where a request came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Addresses and networks.
    pub networks: Vec<IpNet>,
    /// `"unix"`: whoever comes through a unix socket.
    pub is_unix_trusted: bool,
}

/// `proxy_header`: the header in which a trusted proxy says where a request came from. The other one is never read: a proxy
/// that writes one of them passes the other on as the client sent it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ProxyHeader {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwarded => "x-forwarded",
            Self::Forwarded => "forwarded",
        }
    }
}

impl TrustedProxies {
    /// Whether this address is a proxy's. One of IPv4 that is written as one of IPv6 is the same.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.is_unix_trusted
    }

    /// As they are written.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let networks = self.networks.iter().map(ToString::to_string);
        networks.chain(self.is_unix_trusted.then(|| "unix".to_owned())).collect()
    }
}

pub(super) fn check_listeners(sections: Vec<Section<'_>>, report: &mut Report<'_>, base: &Path) -> Vec<ListenConfig> {
    if let Some(section) = sections.get(LISTENERS_MAX) {
        let problem = format!("{} listeners are named", sections.len());
        report.fault(&section.span().clone(), section.path(), problem, format!("expected {LISTENERS_MAX} at most"));
    }
    let mut listeners: Vec<ListenConfig> = Vec::new();
    for section in sections {
        let (span, path) = (section.span().clone(), section.path().to_owned());
        let Some(listener) = check_listener(section, report, base) else { continue };
        let is_taken = listeners.iter().any(|known| match (&known.place, &listener.place) {
            // Port 0 is another one each time.
            (ListenPlace::Tcp(known), ListenPlace::Tcp(new)) => known == new && new.port() != 0,
            (ListenPlace::Unix { path: known, .. }, ListenPlace::Unix { path: new, .. }) => known == new,
            (ListenPlace::Tcp(_), ListenPlace::Unix { .. }) | (ListenPlace::Unix { .. }, ListenPlace::Tcp(_)) => false,
        });
        if is_taken {
            let problem = format!("`{}` is named twice", listener.place);
            report.fault(&span, path, problem, "expected each place once");
        }
        listeners.push(listener);
    }
    listeners
}

fn check_listener(mut section: Section<'_>, report: &mut Report<'_>, base: &Path) -> Option<ListenConfig> {
    let (span, named) = (section.span().clone(), section.path().to_owned());
    let address = section.text(report, "address").map(|(text, span)| {
        let parsed = text.parse::<SocketAddr>().ok();
        if parsed.is_none() {
            let problem = format!("{text:?} is not an address to listen at");
            report.fault(&span, section.path_of("address"), problem, "expected IP:PORT, e.g. \"0.0.0.0:8443\"");
        }
        parsed
    });
    let has_path = section.span_of("path").is_some();
    let path = check_path(&mut section, report, "path", base);
    let mode = section.text(report, "mode").map(|(text, span)| (check_mode(report, &section, text, &span), span));
    let has_files = (section.span_of("certificate_file"), section.span_of("key_file"));
    let certificate = check_path(&mut section, report, "certificate_file", base);
    let key = check_path(&mut section, report, "key_file", base);
    section.finish(report, &[]);
    if has_files.0.is_some() != has_files.1.is_some() {
        report.fault(&span, &named, "TLS is half given", "expected both `certificate_file` and `key_file`, or neither");
    }
    match (address, has_path) {
        (Some(address), false) => {
            if let Some((_, span)) = mode {
                report.fault(&span, format!("{named}.mode"), "a port has no mode", "expected it beside `path` alone");
            }
            let tls = certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key });
            Some(ListenConfig { place: ListenPlace::Tcp(address?), tls })
        }
        (None, true) => {
            if has_files.0.or(has_files.1).is_some() {
                report.fault(&span, &named, "TLS on a unix socket", "expected it beside `address` alone");
            }
            let mode = mode.and_then(|(mode, _)| mode).unwrap_or(SOCKET_MODE);
            Some(ListenConfig { place: ListenPlace::Unix { path: path?, mode }, tls: None })
        }
        (Some(_), true) | (None, false) => {
            report.fault(&span, named, "it has no one place", "expected either `address` or `path`");
            None
        }
    }
}

fn check_mode(
    report: &mut Report<'_>,
    section: &Section<'_>,
    text: &str,
    span: &std::ops::Range<usize>,
) -> Option<u32> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777 && mode & 0o600 == 0o600);
    if mode.is_none() {
        let advice = "expected octal permissions in quotes with those of the owner, e.g. \"660\"";
        report.fault(span, section.path_of("mode"), format!("{text:?} is not such a mode"), advice);
    }
    mode
}

/// `base_path`: empty, or `/a/b` without an end.
pub(super) fn check_base_path(section: &mut Section<'_>, report: &mut Report<'_>) -> String {
    let Some((text, span)) = section.text(report, "base_path") else { return String::new() };
    let path = text.trim_end_matches('/');
    let is_plain = |part: &str| {
        let is_word = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        is_word && !part.is_empty() && part != "." && part != ".."
    };
    let is_path = path.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_plain));
    if !text.is_empty() && text != "/" && (!is_path || path.len() > BASE_PATH_BYTES_MAX) {
        let advice = "expected a path of letters, digits, `-`, `.`, `_` and `~`, e.g. \"/omnivisor\"";
        report.fault(&span, section.path_of("base_path"), format!("{text:?} is not such a path"), advice);
        return String::new();
    }
    path.to_owned()
}

/// `trusted_proxies`: addresses, networks and `unix`.
pub(super) fn check_proxies(section: &mut Section<'_>, report: &mut Report<'_>) -> TrustedProxies {
    let Some((texts, span)) = section.texts(report, "trusted_proxies") else { return TrustedProxies::default() };
    let path = section.path_of("trusted_proxies");
    if texts.len() > PROXIES_MAX {
        let problem = format!("{} proxies are named", texts.len());
        report.fault(&span, &path, problem, format!("expected {PROXIES_MAX} at most"));
    }
    let mut proxies = TrustedProxies::default();
    for (index, text) in texts.into_iter().enumerate() {
        if text == "unix" {
            proxies.is_unix_trusted = true;
            continue;
        }
        match text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
            Some(network) if network.prefix_len() > 0 => proxies.networks.push(network.trunc()),
            Some(_) | None => {
                let advice = "expected an address, a network as \"10.0.0.0/8\" that is not everybody, or \"unix\"";
                report.fault(&span, format!("{path}[{index}]"), format!("{text:?} is no proxy"), advice);
            }
        }
    }
    proxies
}

/// `proxy_header`.
pub(super) fn check_proxy_header(section: &mut Section<'_>, report: &mut Report<'_>) -> ProxyHeader {
    let Some((text, span)) = section.text(report, "proxy_header") else { return ProxyHeader::default() };
    let known = [ProxyHeader::XForwarded, ProxyHeader::Forwarded].into_iter().find(|header| header.as_str() == text);
    known.unwrap_or_else(|| {
        let problem = format!("{text:?} is no such header");
        report.fault(&span, section.path_of("proxy_header"), problem, "expected \"x-forwarded\" or \"forwarded\"");
        ProxyHeader::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Defaults, MachineSecrets, check};

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let defaults =
            Defaults { storage_path: "/x".into(), plugins_directory: "/p".into(), cache_directory: "/c".into() };
        check(text, &MachineSecrets, Path::new("/etc/omnivisor"), &defaults)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_table_is_a_place_and_takes_the_place_of_the_default() {
        let config = read(
            "[[listen]]\naddress = \"[::]:8443\"\ncertificate_file = \"a.pem\"\nkey_file = \"/k.pem\"\n\
             [[listen]]\npath = \"o.sock\"\nmode = \"0660\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
        )
        .unwrap();
        assert_eq!(config.server.listen, None);
        let shown: Vec<String> = config.listen.iter().map(|listener| listener.place.to_string()).collect();
        assert_eq!(shown, ["[::]:8443", "unix:/etc/omnivisor/o.sock", "127.0.0.1:0", "127.0.0.1:0"]);
        let files = TlsFiles { certificate: "/etc/omnivisor/a.pem".into(), key: "/k.pem".into() };
        assert_eq!(config.listen[0].tls, Some(files));
        assert!(matches!(config.listen[1].place, ListenPlace::Unix { mode: 0o660, .. }));
        let both = read("[server]\nlisten = \"127.0.0.1:1\"\n[[listen]]\npath = \"/o\"\n").unwrap();
        assert_eq!((both.server.listen.map(|at| at.port()), both.listen.len()), (Some(1), 1));
        assert!(matches!(both.listen[0].place, ListenPlace::Unix { mode: 0o600, .. }));
        assert_eq!(read("#").unwrap().server.listen.map(|at| at.to_string()).as_deref(), Some("127.0.0.1:8642"));
    }

    #[test]
    fn every_half_place_is_a_fault_that_says_what_is_expected() {
        for (text, told) in [
            ("[[listen]]\n", "either `address` or `path`"),
            ("[[listen]]\naddress = \"1.2.3.4:1\"\npath = \"/x\"\n", "either `address` or `path`"),
            ("[[listen]]\naddress = \"localhost\"\n", "is not an address to listen at"),
            ("[[listen]]\naddress = \"1.2.3.4:1\"\ncertificate_file = \"/x\"\n", "TLS is half given"),
            ("[[listen]]\npath = \"/x\"\nkey_file = \"/k\"\ncertificate_file = \"/c\"\n", "TLS on a unix socket"),
            ("[[listen]]\naddress = \"1.2.3.4:1\"\nmode = \"600\"\n", "a port has no mode"),
            ("[[listen]]\npath = \"/x\"\nmode = \"0999\"\n", "is not such a mode"),
            ("[[listen]]\npath = \"/x\"\nmode = \"066\"\n", "is not such a mode"),
            ("[[listen]]\npath = \"/x\"\nmode = \"7777\"\n", "is not such a mode"),
            ("[[listen]]\npath = \"/x\"\n[[listen]]\npath = \"/x\"\n", "is named twice"),
            ("[[listen]]\npath = \"/x\"\ncolour = 1\n", "unknown key"),
            ("[listen]\npath = \"/x\"\n", "expected tables `[[listen]]`"),
        ] {
            let faults = read(text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(told)), "{text}: {faults:?}");
        }
    }

    #[test]
    fn a_base_path_is_plain_and_has_no_end() {
        let path = |text: &str| read(&format!("server.base_path = \"{text}\"")).map(|config| config.server.base_path);
        assert_eq!(path("/fleet/one/").as_deref(), Ok("/fleet/one"));
        assert_eq!(path("/").as_deref(), Ok(""));
        assert_eq!(path("").as_deref(), Ok(""));
        for bad in ["fleet", "/a//b", "/a/../b", "/a b", "/a?b", "/%41", "//", "/./"] {
            assert!(path(bad).is_err() || bad == "//", "{bad}");
        }
    }

    #[test]
    fn proxies_are_addresses_networks_and_the_socket_but_never_everybody() {
        let config = read("server.trusted_proxies = [\"10.1.2.3/8\", \"192.0.2.7\", \"fd00::/8\", \"unix\"]").unwrap();
        let proxies = config.server.trusted_proxies;
        assert_eq!(proxies.words(), ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "unix"]);
        let has = |text: &str| proxies.has(text.parse().unwrap());
        assert!(has("10.255.0.1") && has("192.0.2.7") && has("::ffff:10.0.0.1") && has("fd12::1"));
        assert!(!has("11.0.0.1") && !has("192.0.2.8") && !has("::1"));
        for bad in ["0.0.0.0/0", "::/0", "example.org", "10.0.0.0/33", ""] {
            assert!(read(&format!("server.trusted_proxies = [\"{bad}\"]")).is_err(), "{bad}");
        }
    }
}
