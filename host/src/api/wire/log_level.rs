//! The JSON forms of what the host's own log lets through.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which of the server's own log lines are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevelView {
    /// What counts now, as it was written: a level, or `TARGET=LEVEL`, separated by commas.
    #[schema(example = "debug")]
    pub level: String,
    /// What the configuration says, which counts again afterwards.
    #[schema(example = "info")]
    pub configured: String,
    /// When the configuration's counts again. Absent while it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub until: Option<String>,
    /// Who had it changed. Absent while the configuration's counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub by: Option<String>,
}

/// What is to be written for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevelRequest {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, or such for parts of the program as `TARGET=LEVEL`, separated by
    /// commas. At most 512 characters.
    #[schema(example = "info,omnivisor::node=debug")]
    pub level: String,
    /// For how many seconds, 1 to 86,400; 600 if it is not said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 600, minimum = 1, maximum = 86400)]
    pub for_seconds: Option<u64>,
}
