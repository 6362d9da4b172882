//! Accounts, roles and sessions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A role over something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantView {
    /// The role's name.
    #[schema(example = "operator")]
    pub role: String,
    /// `everything`, `environment:NAME`, `node:NAME` or `group:NODE/GROUP`.
    #[schema(example = "environment:production")]
    pub scope: String,
}

/// Actions over something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RightsView {
    /// `everything`, `environment:NAME`, `node:NAME` or `group:NODE/GROUP`.
    pub scope: String,
    /// What may be done there. Actions on the server itself count over `everything` alone, and stand nowhere else.
    pub actions: Vec<String>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// What it was granted. Without any it may do nothing.
    pub grants: Vec<GrantView>,
    /// True while nobody may use it.
    pub disabled: bool,
    /// When it was made.
    pub created_at: String,
    /// Rises with each change; the `etag`.
    pub revision: u64,
}

/// Accounts by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// The accounts.
    pub items: Vec<UserView>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

/// An account that is wished for.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// Its name.
    #[schema(min_length = 1, max_length = 255)]
    pub name: String,
    /// Its password, at least 12 characters.
    #[schema(min_length = 12, max_length = 1024, format = Password)]
    pub password: String,
    /// Its grants, at most 64; none may do nothing.
    #[serde(default)]
    pub grants: Vec<GrantView>,
    /// True if nobody is to use it yet.
    #[serde(default)]
    pub disabled: bool,
}

/// What is to be changed of an account. Either ends its sessions.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserEdit {
    /// A new password, at least 12 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 12, max_length = 1024, format = Password)]
    pub password: Option<String>,
    /// Whether it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// All grants that an account is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantsRequest {
    /// The grants, at most 64.
    pub grants: Vec<GrantView>,
}

/// One's own new password against the old one.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password until now.
    #[schema(max_length = 1024, format = Password)]
    pub old: String,
    /// The new one, at least 12 characters.
    #[schema(min_length = 12, max_length = 1024, format = Password)]
    pub new: String,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// By what it is ended; no token can be made from it.
    #[schema(example = "0123456789abcdef")]
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// The strategy that vouched for it.
    pub strategy: String,
    /// The actions that it is limited to; empty for all.
    pub scopes: Vec<String>,
    /// When it began.
    pub created_at: String,
    /// When it was last used, to a minute.
    pub last_used_at: String,
    /// When it ends in any case.
    pub expires_at: String,
    /// True of the one that asks.
    pub current: bool,
}

/// Sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionList {
    /// The sessions.
    pub items: Vec<SessionView>,
}

/// How many sessions were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionsEnded {
    /// How many.
    pub ended: u64,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleView {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub actions: Vec<String>,
    /// True of those that stay as they are.
    pub built_in: bool,
    /// Rises with each change; the `etag`. Not of one that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revision: Option<u64>,
}

/// Roles: the built-in ones, then the others by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleList {
    /// The roles.
    pub items: Vec<RoleView>,
}

/// A role that is wished for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRequest {
    /// Its name: 1 to 64 of `a-z 0-9 - _`, beginning with a letter.
    #[schema(min_length = 1, max_length = 64, example = "deploy")]
    pub name: String,
    /// What it may do.
    #[schema(example = json!(["process.read", "process.control"]))]
    pub actions: Vec<String>,
}

/// What a role is to allow from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleEdit {
    /// What it may do.
    pub actions: Vec<String>,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PermissionView {
    /// Its word.
    #[schema(example = "process.control")]
    pub name: String,
    /// What it allows.
    pub description: String,
    /// `any`: it may be granted on some nodes alone. `own`: a grant of any scope is enough. `everything`: only a grant over
    /// everything is.
    pub scope: String,
    /// The built-in roles that have it.
    pub roles: Vec<String>,
}

/// Every action there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PermissionList {
    /// The actions.
    pub items: Vec<PermissionView>,
}
