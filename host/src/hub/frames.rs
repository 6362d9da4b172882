use crate::hub::Position;
use crate::hub::follow::{Denied, Skip};
use crate::hub::frame::Frame;
use crate::hub::log::Publication;
use std::fmt::Write;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

// The frames of the feed as `docs/api.md` describes them. Written by hand, because the members inside are JSON already.

/// The text as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn event(offset: u64, count: u64, publication: &Publication) -> Frame {
    let Publication { topic, kind, at, members, change: _ } = publication;
    let mut frame = String::with_capacity(members.len() + topic.len() + at.len() + kind.len() + 64);
    let (topic, at, kind) = (quoted(topic), quoted(at), quoted(kind));
    let _ = write!(frame, r#"{{"t":"ev","o":{offset},"s":{count},"topic":{topic},"at":{at},"kind":{kind}"#);
    if !members.is_empty() {
        frame.push(',');
        frame.push_str(members);
    }
    frame.push('}');
    Frame::text(frame)
}

/// Lines of a log: `from` is the number of the first of them.
pub(super) fn log(offset: u64, topic: &str, from: u64, lines: u64, members: &str) -> Frame {
    let topic = quoted(topic);
    let mut frame = String::with_capacity(members.len() + topic.len() + 64);
    let _ = write!(frame, r#"{{"t":"log","o":{offset},"topic":{topic},"n":{from},"lines":{lines}"#);
    if !members.is_empty() {
        frame.push(',');
        frame.push_str(members);
    }
    frame.push('}');
    Frame::text(frame)
}

/// Lines of a log that the client is not given, both ends included.
pub(super) fn skip(skip: &Skip) -> Frame {
    let Skip { topic, from, to } = skip;
    let n = to - from + 1;
    Frame::text(format!(r#"{{"t":"skip","stream":{},"from":{from},"to":{to},"n":{n}}}"#, quoted(topic)))
}

/// The logs that the client follows from now on, with the number of the line that comes next, and those denied.
pub(super) fn logs<'a>(places: impl Iterator<Item = (&'a Arc<str>, u64)>, denied: &[(Arc<str>, Denied)]) -> Frame {
    let places: Vec<String> = places.map(|(topic, n)| format!(r#"{{"topic":{},"n":{n}}}"#, quoted(topic))).collect();
    let mut frame = format!(r#"{{"t":"logs","log":[{}]"#, places.join(","));
    if !denied.is_empty() {
        let why =
            |(topic, why): &(Arc<str>, Denied)| format!(r#"{{"topic":{},"why":"{}"}}"#, quoted(topic), why.as_str());
        let _ = write!(frame, r#","denied":[{}]"#, denied.iter().map(why).collect::<Vec<_>>().join(","));
    }
    frame.push('}');
    Frame::text(frame)
}

pub(super) fn welcome(epoch: &str, offset: u64, mode: &str) -> Frame {
    Frame::text(format!(r#"{{"t":"welcome","epoch":"{epoch}","o":{offset},"mode":"{mode}"}}"#))
}

pub(super) fn bookmark(offset: u64) -> Frame {
    Frame::text(format!(r#"{{"t":"bm","o":{offset}}}"#))
}

/// What follows brings the client from where it was to `offset`.
pub(super) fn resync(from: u64, offset: u64, mode: &str) -> Frame {
    Frame::text(format!(r#"{{"t":"resync","why":"lag","from":{from},"o":{offset},"mode":"{mode}"}}"#))
}

/// The same because it may see something else now. The epoch is that of its positions behind the last `snap`.
pub(super) fn regrant(from: u64, offset: u64, mode: &str, epoch: &str) -> Frame {
    Frame::text(format!(
        r#"{{"t":"resync","why":"rights","from":{from},"o":{offset},"mode":"{mode}","epoch":"{epoch}"}}"#
    ))
}

/// The client may no longer see topics that begin with one of these.
pub(super) fn revoked(topics: &[String], epoch: &str) -> Frame {
    let topics: Vec<String> = topics.iter().map(|topic| quoted(topic)).collect();
    Frame::text(format!(r#"{{"t":"revoked","topics":[{}],"epoch":"{epoch}"}}"#, topics.join(",")))
}

/// The session or key comes to the end of its time.
pub(super) fn expiring(seconds: u32) -> Frame {
    Frame::text(format!(r#"{{"t":"expiring","in":{seconds}}}"#))
}

/// The connection stands on another session or key now, which ends in so many seconds, if it does.
pub(super) fn refreshed(ttl: Option<u64>) -> Frame {
    let ttl = ttl.map(|ttl| format!(r#","ttl":{ttl}"#)).unwrap_or_default();
    Frame::text(format!(r#"{{"t":"refreshed"{ttl}}}"#))
}

/// What the client asked for was not done, and nothing else has changed.
pub(super) fn error(code: &str, detail: &str) -> Frame {
    Frame::text(format!(r#"{{"t":"error","code":{},"detail":{}}}"#, quoted(code), quoted(detail)))
}

/// One that is no more, among the items of those that changed.
pub(super) fn removal(topic: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"topic":{},"kind":"removed"{comma}{members}}}"#, quoted(topic))
}

/// The server is going away. `resume` is missing while the client has no whole state yet.
pub(super) fn drain(after_ms: u128, resume: Option<&Position>) -> Frame {
    let resume = resume.map(|position| format!(r#","resume":"{position}""#)).unwrap_or_default();
    Frame::text(format!(r#"{{"t":"drain","after_ms":{after_ms}{resume}}}"#))
}

/// The frames of one snapshot, each about `bytes` long. At least one, so that the client sees the last.
pub(super) fn snapshot(offset: u64, items: &[Utf8Bytes], bytes: usize) -> Box<[Frame]> {
    let mut chunks: Vec<String> = vec![String::new()];
    for item in items {
        match chunks.last_mut() {
            Some(chunk) if chunk.is_empty() => chunk.push_str(item),
            Some(chunk) if chunk.len() + item.len() < bytes => {
                chunk.push(',');
                chunk.push_str(item);
            }
            Some(_) | None => chunks.push(item.as_str().to_owned()),
        }
    }
    let last = chunks.len() - 1;
    let frame = |(i, chunk): (usize, String)| {
        let is_last = i == last;
        Frame::text(format!(r#"{{"t":"snap","o":{offset},"i":{i},"last":{is_last},"items":[{chunk}]}}"#))
    };
    chunks.into_iter().enumerate().map(frame).collect()
}
