//! What the feed's frames of a followed log hold, besides their number and their topic.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One piece of a followed log, one gap in it, or a word about the following itself: exactly one of `text`, `base64`,
/// `gap` and `follow` is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEvent {
    /// The node.
    pub node: String,
    /// The process, as `group:name`.
    pub process: String,
    /// `stdout` or `stderr`.
    pub channel: String,
    /// When it was read, by the host's clock, RFC 3339 in UTC.
    pub at: String,
    /// Of a piece: the offset of its first byte in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// The offset of the byte after it; of a gap and of `following`, of the byte with which it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The bytes of a piece as they stand in the file, which are UTF-8: whole lines, or a part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes of a piece that are not UTF-8, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// True for a piece whose last line does not end with it: the next one goes on with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continued: bool,
    /// Bytes may be missing here: `rotated` (the file was rotated, cleared or cut), `unreadable` (the supervisor cannot
    /// show them), `behind` (the log grew faster than it could be read).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
    /// How many bytes are missing, where that can be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// How it goes: `following` (from `next` on, or again), `waiting` (it cannot be read now and is tried again),
    /// `refused` (too many logs are followed; it is tried again).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<String>,
    /// Of `following`: `stream` if the supervisor tells of new bytes, `poll` if it is asked at intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Of `waiting` and `refused`: why, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}
