//! Nodes that are managed over the API: what was wished, checked by the very rules of the file.

use crate::config::fault::ConfigFault;
use crate::config::node::{ADAPTER, check_nodes};
use crate::config::schema::{Config, NodeConfig};
use crate::config::secret::{SecretError, SecretSource};
use crate::config::section::{Report, Section};
use crate::model::{NodeId, Secret};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use toml::de::DeTable;

/// Managed nodes of one server.
pub const MANAGED_NODES_MAX: usize = 5_000;

/// What variables have to begin with that a managed node takes its password from. Else whoever may manage nodes could have
/// any variable of the server sent to a node of theirs.
pub const PASSWORD_ENV_BEGINNING: &str = "OMNIVISOR_NODE_";

/// The directory, beside the configuration's file, in which the passwords of managed nodes lie; for the same reason.
pub const PASSWORD_DIRECTORY: &str = "node-passwords";

/// Bytes of a password that is given over the API.
pub const KEPT_PASSWORD_BYTES_MAX: usize = 1_024;

/// A node as it was wished over the API, in the words of `[[node]]`. Never holds a password, only where one is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagedNode {
    /// `name`
    pub name: String,
    /// `url`
    pub url: String,
    /// `environment`
    pub environment: Option<String>,
    /// `adapter`
    pub adapter: Option<String>,
    /// `username`
    pub username: Option<String>,
    /// `password_env`: begins with [`PASSWORD_ENV_BEGINNING`].
    pub password_env: Option<String>,
    /// `password_file`: the name of a file in [`PASSWORD_DIRECTORY`].
    pub password_file: Option<String>,
    /// Whether the store keeps its password, sealed.
    pub has_kept_password: bool,
    /// `enabled`
    pub enabled: Option<bool>,
}

impl ManagedNode {
    /// Checks it by the rules of the file. `base` is the directory of the configuration's file. `kept` is the password that
    /// the store keeps for it; a node that should have one and has not is asked without any login.
    ///
    /// # Errors
    /// Every fault; their keys are those of `[[node]]`, without the table, and `password` for the kept one.
    pub fn check(
        &self,
        secrets: &dyn SecretSource,
        base: &Path,
        kept: Option<&Secret>,
    ) -> Result<NodeConfig, Vec<ConfigFault>> {
        if !self.has_kept_password {
            return self.checked(secrets, base);
        }
        let mut node = self.checked(&Kept(kept), base)?;
        if kept.is_none() {
            node.login = None;
        }
        Ok(node)
    }

    /// What a password that is given for it is good for: the same adapter at the same address. Whoever may point the node
    /// elsewhere must not have the password sent there.
    #[must_use]
    pub fn bound(&self) -> String {
        format!("{} {}", self.adapter.as_deref().unwrap_or(ADAPTER), self.url)
    }

    fn checked(&self, secrets: &dyn SecretSource, base: &Path) -> Result<NodeConfig, Vec<ConfigFault>> {
        let mut faults = self.misplaced();
        if !faults.is_empty() {
            return Err(faults);
        }
        let text = self.text();
        let (document, errors) = DeTable::parse_recoverable(&text);
        let mut report = Report::new(&text);
        let mut root = Section::new(String::new(), document.span(), document.get_ref());
        let directory = base.join(PASSWORD_DIRECTORY);
        let mut nodes = check_nodes(root.sections(&mut report, "node"), &mut report, secrets, &directory);
        faults = report.faults;
        if !errors.is_empty() {
            faults.push(fault("", "it cannot be written as TOML", "expected plain texts"));
        }
        match nodes.pop() {
            Some(node) if faults.is_empty() => Ok(node),
            Some(_) | None => Err(faults.into_iter().map(|fault| keyed(fault, "")).collect()),
        }
    }

    /// References that would reach for what is not a node's.
    fn misplaced(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        if self.has_kept_password && (self.password_env.is_some() || self.password_file.is_some()) {
            faults.push(fault(
                "password",
                "`password_env` or `password_file` is given too",
                "expected one of the three",
            ));
        }
        if self.has_kept_password && self.username.is_none() {
            faults.push(fault("username", "a password is given without it", "expected both, or neither"));
        }
        if self.password_env.as_ref().is_some_and(|name| !name.starts_with(PASSWORD_ENV_BEGINNING)) {
            let advice = format!("expected a name that begins with {PASSWORD_ENV_BEGINNING}");
            faults.push(fault("password_env", "that variable is not for nodes", advice));
        }
        let is_name = |name: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
        };
        if self.password_file.as_ref().is_some_and(|name| !is_name(name)) {
            let advice =
                format!("expected the name of a file in `{PASSWORD_DIRECTORY}` beside the configuration's file");
            faults.push(fault("password_file", "that is no such name", advice));
        }
        faults
    }

    fn text(&self) -> String {
        let mut text = String::from("[[node]]\n");
        // Answered by `Kept`, whatever its name.
        let kept = self.has_kept_password.then(|| PASSWORD_ENV_BEGINNING.to_owned());
        let keys = [
            ("name", Some(&self.name)),
            ("url", Some(&self.url)),
            ("environment", self.environment.as_ref()),
            ("adapter", self.adapter.as_ref()),
            ("username", self.username.as_ref()),
            ("password_env", self.password_env.as_ref().or(kept.as_ref())),
            ("password_file", self.password_file.as_ref()),
        ];
        for (key, value) in keys.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))) {
            let _ = writeln!(text, "{key} = {}", quoted(value));
        }
        if let Some(enabled) = self.enabled {
            let _ = writeln!(text, "enabled = {enabled}");
        }
        text
    }
}

/// Answers every question with the one password that the store keeps, or with a word in its place.
struct Kept<'a>(Option<&'a Secret>);

impl SecretSource for Kept<'_> {
    fn variable(&self, _: &str) -> Result<Secret, SecretError> {
        Ok(self.0.cloned().unwrap_or_else(|| Secret::new("-".to_owned())))
    }

    fn file(&self, _: &Path) -> Result<Secret, SecretError> {
        Err(SecretError::Unset)
    }

    fn private_file(&self, _: &Path) -> Result<Secret, SecretError> {
        Err(SecretError::Unset)
    }
}

/// A basic string of TOML: every character that could mean something is written by its number.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        if c.is_control() || matches!(c, '"' | '\\') {
            let _ = write!(text, "\\U{:08X}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text.push('"');
    text
}

fn fault(key: &str, problem: impl Into<String>, advice: impl Into<String>) -> ConfigFault {
    ConfigFault { line: None, key: key.to_owned(), problem: problem.into(), advice: advice.into() }
}

/// The same fault without a line, which nobody wrote, and with another beginning of its key.
fn keyed(fault: ConfigFault, beginning: &str) -> ConfigFault {
    let key = fault.key.strip_prefix("node[0].").unwrap_or(&fault.key);
    ConfigFault { line: None, key: format!("{beginning}{key}"), ..fault }
}

/// The configuration of a file with the managed nodes added. `kept` are their passwords that the store keeps, by name.
///
/// # Errors
/// Every fault of the managed nodes, and every name that the file declares too; the keys begin with `managed.NAME.`.
pub fn with_managed(
    mut config: Config,
    managed: &[ManagedNode],
    kept: &BTreeMap<String, Secret>,
    secrets: &dyn SecretSource,
    base: &Path,
) -> Result<Config, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    for node in managed {
        let beginning = format!("managed.{}.", node.name);
        if let Some(fault) = taken(&config, &node.name) {
            faults.push(ConfigFault { key: format!("{beginning}name"), ..fault });
            continue;
        }
        match node.check(secrets, base, kept.get(&node.name)) {
            Ok(node) => config.nodes.push(node),
            Err(found) => faults.extend(found.into_iter().map(|fault| keyed(fault, &beginning))),
        }
    }
    config.nodes.sort_by(|left, right| left.name.cmp(&right.name));
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

/// The fault of a managed node's name that a file declares. It names both owners.
#[must_use]
pub fn taken(declared: &Config, name: &str) -> Option<ConfigFault> {
    let is_taken = NodeId::parse(name).is_ok_and(|id| declared.nodes.iter().any(|node| node.name == id));
    is_taken.then(|| {
        fault(
            "name",
            format!("the file declares the node `{name}`, and it is managed over the API too"),
            format!(
                "expected one owner: take `[[node]]` `{name}` out of the file, or run `omnivisor node remove {name}`"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineSecrets;
    use proptest::prelude::*;

    fn node(name: &str, url: &str) -> ManagedNode {
        ManagedNode {
            name: name.to_owned(),
            url: url.to_owned(),
            environment: None,
            adapter: None,
            username: None,
            password_env: None,
            password_file: None,
            has_kept_password: false,
            enabled: None,
        }
    }

    #[test]
    fn a_managed_node_keeps_the_rules_of_the_file() {
        let good = node("web-1", "http://10.0.0.7:9001").check(&MachineSecrets, Path::new("/"), None).expect("legal");
        assert_eq!((good.name.as_str(), good.adapter.as_str()), ("web-1", "node-supervisord"));
        let bad = ManagedNode { username: Some("u".into()), ..node("a b", "https://x") };
        let faults = bad.check(&MachineSecrets, Path::new("/"), None).expect_err("faulty");
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["name", "url", "username"], "{faults:?}");
    }

    #[test]
    fn a_password_comes_only_from_where_passwords_of_nodes_are() {
        let place = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(place.path().join(PASSWORD_DIRECTORY)).expect("room");
        std::fs::write(place.path().join(PASSWORD_DIRECTORY).join("web"), "pass\n").expect("room");
        let with = |env: Option<&str>, file: Option<&str>| ManagedNode {
            username: Some("u".into()),
            password_env: env.map(str::to_owned),
            password_file: file.map(str::to_owned),
            ..node("a", "http://x:1")
        };
        let good = with(None, Some("web")).check(&MachineSecrets, place.path(), None).expect("legal");
        assert_eq!(good.login.expect("given").password.reveal(), "pass");
        for bad in ["/etc/shadow", "../web", "..", ".", "", "a/b"] {
            let faults = with(None, Some(bad)).check(&MachineSecrets, place.path(), None).expect_err(bad);
            assert_eq!(faults[0].key, "password_file", "{bad}");
        }
        let faults = with(Some("PATH"), None).check(&MachineSecrets, place.path(), None).expect_err("not for nodes");
        assert_eq!(faults[0].key, "password_env");
    }

    #[test]
    fn a_kept_password_is_one_of_three_sources_and_needs_a_user() {
        let kept = Secret::new("hunter2".into());
        let check = |node: &ManagedNode, kept| node.check(&MachineSecrets, Path::new("/"), kept);
        let good = ManagedNode { username: Some("u".into()), has_kept_password: true, ..node("a", "http://x:1") };
        assert_eq!(check(&good, Some(&kept)).expect("legal").login.expect("given").password, kept);
        assert_eq!(check(&good, None).expect("legal").login, None, "asked without what cannot be had");
        for (bad, key) in [
            (ManagedNode { username: None, ..good.clone() }, "username"),
            (ManagedNode { username: Some("a:b".into()), ..good.clone() }, "username"),
            (ManagedNode { password_file: Some("x".into()), ..good.clone() }, "password"),
            (ManagedNode { password_env: Some("OMNIVISOR_NODE_X".into()), ..good.clone() }, "password"),
        ] {
            let faults = check(&bad, Some(&kept)).expect_err(key);
            assert_eq!((faults.len(), faults[0].key.as_str()), (1, key), "{faults:?}");
        }
        let elsewhere = ManagedNode { url: "http://y:1".into(), ..good.clone() };
        assert_ne!(good.bound(), elsewhere.bound());
        assert_ne!(good.bound(), ManagedNode { adapter: Some("node-monit".into()), ..good.clone() }.bound());
        assert_eq!(good.bound(), ManagedNode { adapter: Some("node-supervisord".into()), ..good.clone() }.bound());
    }

    proptest! {
        #[test]
        fn no_text_escapes_its_quotes(name in "\\PC*|[\"\\\\\n\r\t\u{7f}=\\[\\]]*", url in ".*") {
            let wished = node(&name, &url);
            if let Ok(checked) = wished.check(&MachineSecrets, Path::new("/"), None) {
                prop_assert_eq!(checked.name.as_str(), name);
                prop_assert!(checked.login.is_none() && checked.environment.is_none());
            }
        }
    }
}
