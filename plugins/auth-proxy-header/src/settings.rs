use ipnet::IpNet;
use plugin_identity::settings::{invalid, parse};
use plugin_identity::{Role, RoleRule};
use plugin_sdk::Fault;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Networks that may be trusted.
const NETWORKS_MAX: usize = 64;
/// Bytes that a header's name may have.
const HEADER_BYTES_MAX: usize = 64;
/// Headers that the host shows to no strategy.
const FORBIDDEN: [&str; 2] = ["authorization", "cookie"];

/// What the operator sets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    trusted: Vec<IpNet>,
    #[serde(default = "default_name_header")]
    pub(crate) name_header: String,
    pub(crate) role_header: Option<String>,
    #[serde(default)]
    roles: BTreeMap<String, Role>,
    role: Option<Role>,
}

fn default_name_header() -> String {
    "x-remote-user".to_owned()
}

impl Settings {
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        let settings: Self = parse(text)?;
        settings.check_networks()?;
        check_header("name_header", &settings.name_header)?;
        if let Some(role_header) = &settings.role_header {
            check_header("role_header", role_header)?;
            if *role_header == settings.name_header {
                return Err(invalid("role_header", "it is `name_header` too", "a header of its own"));
            }
        }
        settings.role_rule().check("role_header", settings.role_header.as_deref())?;
        Ok(settings)
    }

    pub(crate) fn headers(&self) -> Vec<String> {
        std::iter::once(&self.name_header).chain(&self.role_header).cloned().collect()
    }

    pub(crate) fn role_rule(&self) -> RoleRule<'_> {
        RoleRule { roles: &self.roles, default: self.role }
    }

    /// Whether a connection from there may name people. An IPv4 peer of an IPv6 socket counts as what it is.
    pub(crate) fn trusts(&self, peer: &str) -> bool {
        let Ok(address) = peer.parse::<IpAddr>() else { return false };
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    fn check_networks(&self) -> Result<(), Fault> {
        if self.trusted.is_empty() || self.trusted.len() > NETWORKS_MAX {
            let problem = format!("{} networks are named", self.trusted.len());
            return Err(invalid("trusted", &problem, &format!("1 to {NETWORKS_MAX} of them")));
        }
        for (index, network) in self.trusted.iter().enumerate() {
            let key = format!("trusted[{index}]");
            if network.prefix_len() == 0 {
                let expected = "the networks of your proxies, e.g. \"10.0.0.7/32\"";
                return Err(invalid(&key, "it trusts everybody", expected));
            }
            if matches!(network, IpNet::V6(network) if network.network().to_ipv4_mapped().is_some()) {
                let expected = "the IPv4 network itself, e.g. \"10.0.0.0/8\"";
                return Err(invalid(&key, "it is an IPv4 network in IPv6 form, which no peer has", expected));
            }
        }
        Ok(())
    }
}

/// Source: RFC 9110 section 5.6.2 for what a header's name is made of; lower case because the host's are.
fn check_header(key: &str, name: &str) -> Result<(), Fault> {
    let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > HEADER_BYTES_MAX || !name.bytes().all(is_token) {
        return Err(invalid(key, "it is no header's name", "lower case, e.g. \"x-remote-user\""));
    }
    if FORBIDDEN.contains(&name) {
        return Err(invalid(key, &format!("no strategy sees `{name}`"), "another header"));
    }
    Ok(())
}
