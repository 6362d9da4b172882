use crate::api::wire::log::LogEvent;
use crate::api::wire::{NodeView, ProcessView};
use serde::{Deserialize, Serialize};

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "t", rename = "hello")]
pub(crate) struct Hello {
    /// Patterns of topics.
    pub(crate) sub: Vec<String>,
    /// Logs that it follows, by their topics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<String>,
    /// Where to go on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(crate) enum Frame {
    /// The first frame: what follows is a snapshot or a replay.
    Welcome { epoch: String, o: u64, mode: String },
    /// A piece of a snapshot, or of what changed.
    Snap {
        o: u64,
        last: bool,
        #[serde(default)]
        items: Vec<Item>,
    },
    /// One change.
    Ev(Box<Event>),
    /// A position without a change.
    Bm { o: u64 },
    /// Changes were skipped; what became of them follows, or, unless `mode` says `changes`, everything.
    Resync {
        why: String,
        #[serde(default)]
        mode: String,
        /// The epoch of positions behind it, if that is another one.
        #[serde(default)]
        epoch: Option<String>,
    },
    /// Topics that begin with one of these may no longer be seen.
    Revoked { topics: Vec<String>, epoch: String },
    /// The logs that are followed from here on, and those that are not.
    Logs {
        #[serde(default)]
        denied: Vec<Denied>,
    },
    /// A piece of a followed log, a gap in it, or a word about it.
    Log(Box<LogEvent>),
    /// Lines of a followed log that this client is not given.
    Skip { stream: String, n: u64 },
    /// A frame of a newer server that this client does not know.
    #[serde(other)]
    Unknown,
}

/// A log that is not followed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Denied {
    pub(crate) topic: String,
    pub(crate) why: String,
}

/// A node or a process in a snapshot. Among what changed it may be one that was removed: then only `id` or `node` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) topic: String,
    pub(crate) node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<NodeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

impl Item {
    /// The process's address on its node, if it is about one.
    pub(crate) fn process_id(&self) -> Option<&str> {
        self.process.as_ref().map(|process| process.id.as_str()).or(self.id.as_deref())
    }

    /// True when what it is about is gone.
    pub(crate) fn is_removal(&self) -> bool {
        self.kind.as_deref() == Some("removed")
    }
}

/// One change. On a node's topic `changed` comes with `state`; on a process's topic `added` and `changed` come with
/// `process`, `removed` with `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) o: u64,
    pub(crate) s: u64,
    pub(crate) topic: String,
    pub(crate) at: String,
    pub(crate) kind: String,
    pub(crate) node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<NodeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessView>,
    /// What happened to the process, with `changed`: `started`, `stopped`, `failed` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

impl Event {
    /// True on a process's topic.
    pub(crate) fn is_about_process(&self) -> bool {
        self.topic.starts_with("proc/")
    }

    /// True when what it is about is gone.
    pub(crate) fn is_removal(&self) -> bool {
        self.kind == "removed"
    }

    /// The process's address on its node, for an event about one.
    pub(crate) fn process_id(&self) -> Option<&str> {
        self.process.as_ref().map(|process| process.id.as_str()).or(self.id.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_the_documentation_writes_them() {
        let read = |text: &str| serde_json::from_str::<Frame>(text).expect(text);
        assert_eq!(
            read(r#"{"t":"welcome","epoch":"e","o":1234,"mode":"snapshot","later":1}"#),
            Frame::Welcome { epoch: "e".into(), o: 1234, mode: "snapshot".into() }
        );
        assert_eq!(read(r#"{"t":"snap","o":1,"i":0,"last":true}"#), Frame::Snap { o: 1, last: true, items: vec![] });
        assert_eq!(read(r#"{"t":"bm","o":1300}"#), Frame::Bm { o: 1300 });
        let resync = read(r#"{"t":"resync","why":"lag","from":1,"o":9,"mode":"changes"}"#);
        assert_eq!(resync, Frame::Resync { why: "lag".into(), mode: "changes".into(), epoch: None });
        assert_eq!(read(r#"{"t":"expiring","in":60}"#), Frame::Unknown);
        let removed =
            r#"{"t":"ev","o":5,"s":2,"topic":"proc/n/state","at":"x","kind":"removed","node":"n","id":"a:b"}"#;
        assert!(matches!(read(removed), Frame::Ev(event) if event.process_id() == Some("a:b")));
        assert!(serde_json::from_str::<Frame>(r#"{"t":"ev","o":"five"}"#).is_err());
        let piece = r#"{"t":"log","o":1,"topic":"log/n/a:b/stdout","n":7,"lines":1,"node":"n","process":"a:b","channel":"stdout","at":"x","start":3,"next":5,"text":"a\n"}"#;
        assert!(matches!(read(piece), Frame::Log(event) if (event.start, event.next) == (Some(3), Some(5))));
        let logs = r#"{"t":"logs","log":[],"denied":[{"topic":"log/n/a:b/stdout","why":"full"}]}"#;
        assert!(matches!(read(logs), Frame::Logs { denied } if denied.len() == 1 && denied[0].why == "full"));
        let skip = r#"{"t":"skip","stream":"log/n/a:b/stdout","from":1,"to":4,"n":4}"#;
        assert_eq!(read(skip), Frame::Skip { stream: "log/n/a:b/stdout".into(), n: 4 });
    }

    #[test]
    fn hello_leaves_out_what_it_does_not_know() {
        let hello = Hello { sub: vec!["node/*/state".into()], log: vec![], since: None };
        assert_eq!(serde_json::to_string(&hello).expect("JSON"), r#"{"t":"hello","sub":["node/*/state"]}"#);
    }
}
