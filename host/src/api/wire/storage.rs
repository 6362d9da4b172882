//! The JSON forms of what is done to the database's file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompactionView {
    /// Bytes of the file before.
    #[schema(example = 285_000_000)]
    pub before_bytes: u64,
    /// Bytes of the file now.
    #[schema(example = 31_000_000)]
    pub after_bytes: u64,
    /// So long writes have waited, in milliseconds.
    #[schema(example = 180)]
    pub took_ms: u64,
}
