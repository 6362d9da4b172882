//! The JSON forms of the audit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Records of the audit, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPageView {
    /// The records. A page may be short, or empty, and yet have a `next`: only so many records are looked at for one.
    pub items: Vec<AuditRecordView>,
    /// The `cursor` of the next page; none on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// Something that somebody did or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecordView {
    /// Its number: 1 for the first, then one more each, without a hole.
    #[schema(example = 4711)]
    pub number: u64,
    /// When, in RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: an account's name, the name somebody claimed to have, or empty for the host itself.
    #[schema(example = "ann")]
    pub who: String,
    /// What, as `resource.action`.
    #[schema(example = "process.stop")]
    pub what: String,
    /// On what.
    #[schema(example = "web-1/web:web_00")]
    pub target: String,
    /// `intended`, `done`, `refused`, `failed` or `unknown`.
    #[schema(example = "done")]
    pub outcome: String,
    /// Why, as a code; empty when there is nothing to explain.
    pub reason: String,
    /// The request's id, as in the log and the answer.
    pub request_id: String,
    /// From where, if it came over the network.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// What ties it to all records before it: 64 hexadecimal digits.
    pub link: String,
}

/// What going through the whole audit showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdictView {
    /// True when every record is what was written.
    pub intact: bool,
    /// What is wrong, the first thing that was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub fault: Option<String>,
    /// Records that are there.
    pub records: u64,
    /// The number of the last record that was removed for its age; 0 if none was.
    pub removed: u64,
    /// The last record, as `NUMBER:LINK`. Noted elsewhere, it tells later whether the chain was made anew.
    pub head: String,
}
