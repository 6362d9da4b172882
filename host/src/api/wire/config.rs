//! The JSON forms of the configuration and of the nodes that the API owns.

use super::secret::SecretField;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The configuration in force. Secrets are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// Its number.
    #[schema(example = 7)]
    pub generation: u64,
    /// The settings by their key, e.g. `server.listen`. Numbers, texts, `true` or `false`, lists of texts.
    #[schema(value_type = Object)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// The nodes, sorted by name.
    pub nodes: Vec<NodeSettingsView>,
    /// Settings that differ in the file and wait for a restart.
    pub restart: Vec<String>,
}

/// How a node is reached, and who decides that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeSettingsView {
    /// Its name.
    #[schema(example = "web-1")]
    pub name: String,
    /// `file` or `api`.
    #[schema(example = "file")]
    pub owner: String,
    /// Its environment.
    pub environment: Option<String>,
    /// The adapter plugin that speaks to it.
    pub adapter: String,
    /// Where it listens.
    #[schema(example = "http://10.0.0.7:9001")]
    pub url: String,
    /// The user, where it is entered with a name and a password.
    pub username: Option<String>,
    /// Where its password is: `none`, `configured` (a file or variable of the server), `kept` (given over the API, sealed in
    /// the database) or `missing` (it was given, and cannot be had: the node is asked without).
    #[schema(example = "kept")]
    pub password: String,
    /// False for a node that is shown and not asked.
    pub enabled: bool,
}

/// What came of a change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigAppliedView {
    /// The generation in force now.
    #[schema(example = 8)]
    pub generation: u64,
    /// False when nothing differed.
    pub changed: bool,
    /// Settings that count from now on.
    pub settings: Vec<String>,
    /// Plugins that serve another way.
    pub plugins: Vec<String>,
    /// Nodes that are new.
    pub nodes_added: Vec<String>,
    /// Nodes that are reached another way.
    pub nodes_changed: Vec<String>,
    /// Nodes that are gone.
    pub nodes_removed: Vec<String>,
    /// Nodes in force whose password was given over the API and cannot be had, as after a rollback: give it again. They are
    /// asked without one.
    #[serde(default)]
    pub passwords_missing: Vec<String>,
    /// All settings that differ in the file and wait for a restart.
    pub restart: Vec<String>,
}

/// The generations of the configuration that are kept, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigGenerationList {
    /// The generations.
    pub items: Vec<ConfigGenerationView>,
}

/// One generation of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigGenerationView {
    /// Its number.
    pub generation: u64,
    /// True for the one in force.
    pub current: bool,
    /// When it was applied.
    pub at: String,
    /// `start`, `signal`, `file`, `reload`, `rollback`, `node.add`, `node.replace` or `node.remove`.
    #[schema(example = "reload")]
    pub cause: String,
    /// Who asked for it; empty when nobody did.
    pub who: String,
    /// Bytes of the file's text.
    pub bytes: u64,
    /// How many nodes the API owned.
    pub managed_nodes: u64,
}

/// A node that the API is to own. The keys mean what they mean in `[[node]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedNodeRequest {
    /// Its name, unique. With PUT it stands in the address, and here the same or nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "web-2")]
    pub name: Option<String>,
    /// Where it listens: `http://HOST:PORT` or `unix:///PATH`.
    #[schema(example = "http://10.0.0.8:9001")]
    pub url: String,
    /// A word to group nodes by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub environment: Option<String>,
    /// The plugin that speaks to it; `node-supervisord` when left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub adapter: Option<String>,
    /// The user, together with one of the three below.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub username: Option<String>,
    /// The password, 1 to 1,024 bytes. Kept sealed with the server's key, for this address and adapter alone, and never
    /// answered. `null` removes it. PUT without it keeps what is kept, as long as there is a `username` and none of the two
    /// below; under another address or adapter it has to be given again.
    #[serde(skip_serializing_if = "SecretField::is_left", default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024, write_only, format = Password)]
    pub password: SecretField,
    /// The server's environment variable that holds the password. Its name begins with `OMNIVISOR_NODE_`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub password_env: Option<String>,
    /// The name of the file that holds the password, in `node-passwords` beside the configuration's file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub password_file: Option<String>,
    /// False for a node that is shown and not asked; `true` when left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub enabled: Option<bool>,
}
