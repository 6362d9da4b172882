use crate::model::{LogChannel, NameError, NodeId, ProcessId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;
use std::str::FromStr;

/// What RFC 3986 lets stand in a path segment without escaping, and no more.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One log of one process, as a topic of the feed: `log/NODE/GROUP:NAME/CHANNEL`, the names percent-encoded as in the
/// API's paths. One log has one text: letters, digits and `-._~` stand for themselves, everything else is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogTopic {
    /// Whose process.
    pub node: NodeId,
    /// Whose log.
    pub process: ProcessId,
    /// Which of its logs.
    pub channel: LogChannel,
}

/// Why a text names no log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogTopicError {
    /// It has another number of parts, another first part, or another channel.
    #[error("a log is named `log/NODE/GROUP:NAME/stdout` or `.../stderr`")]
    Form,
    /// Wildcards are for states: every log followed costs its node a connection.
    #[error("`*` stands for nothing in a log's name; write `%2A` for the character")]
    Wildcard,
    /// A name is not percent-encoded UTF-8.
    #[error("a name in it is not percent-encoded UTF-8")]
    Encoding,
    /// A name breaks its rules.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for LogTopic {
    type Err = LogTopicError;

    /// Reads a topic, in any spelling that means the same.
    fn from_str(text: &str) -> Result<Self, LogTopicError> {
        let parts: Vec<&str> = text.split('/').collect();
        let ["log", node, process, channel] = parts[..] else { return Err(LogTopicError::Form) };
        if text.contains('*') {
            return Err(LogTopicError::Wildcard);
        }
        let decoded = |part| percent_decode_str(part).decode_utf8().map_err(|_| LogTopicError::Encoding);
        let channel = match channel {
            "stdout" => LogChannel::Stdout,
            "stderr" => LogChannel::Stderr,
            _ => return Err(LogTopicError::Form),
        };
        Ok(Self { node: NodeId::parse(&decoded(node)?)?, process: ProcessId::parse(&decoded(process)?)?, channel })
    }
}

/// A group's name as it stands in such a topic.
#[must_use]
pub fn group_segment(group: &str) -> impl fmt::Display {
    utf8_percent_encode(group, SEGMENT)
}

impl fmt::Display for LogTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |name| utf8_percent_encode(name, SEGMENT);
        let (group, name) = (escaped(self.process.group()), escaped(self.process.name()));
        write!(f, "log/{}/{group}:{name}/{}", self.node, self.channel.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_log_has_one_text_whatever_way_it_is_asked_for() {
        for text in ["log/web-1/shop%3Aa%2fb/stdout", "log/web-1/shop:a%2Fb/stdout", "log/web%2D1/sho%70:a%2Fb/stdout"]
        {
            let topic: LogTopic = text.parse().expect(text);
            assert_eq!(topic.to_string(), "log/web-1/shop:a%2Fb/stdout");
        }
    }

    #[test]
    fn what_names_no_log_is_refused() {
        let refused = |text: &str| text.parse::<LogTopic>().expect_err(text);
        for text in
            ["", "log", "proc/a/b:c/stdout", "log/a/b:c", "log/a/b:c/stdin", "log/a/b:c/stdout/", "log/a/b/c:d/stdout"]
        {
            assert_eq!(refused(text), LogTopicError::Form, "{text}");
        }
        assert_eq!(refused("log/a/*:c/stdout"), LogTopicError::Wildcard);
        assert_eq!(refused("log/a/b:%ff/stdout"), LogTopicError::Encoding);
        assert_eq!(refused("log/a/b/stdout"), LogTopicError::Name(NameError::NoGroup));
        assert!(matches!(refused("log/a%20/b:c/stdout"), LogTopicError::Name(NameError::Character { .. })));
    }

    proptest! {
        #[test]
        fn every_log_reads_back(group in "[^:\\pC]{1,20}", name in "\\PC{1,20}", is_error in any::<bool>()) {
            let channel = if is_error { LogChannel::Stderr } else { LogChannel::Stdout };
            let topic = LogTopic { node: NodeId::parse("n").unwrap(), process: ProcessId::reported(&group, &name), channel };
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }
    }
}
