use crate::hub::log::Publication;
use std::fmt::Write;
use tokio_tungstenite::tungstenite::Utf8Bytes;

// The frames of the feed as `docs/api.md` describes them. Written by hand, because the members inside are JSON already.

/// The text as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn event(offset: u64, count: u64, publication: &Publication) -> Utf8Bytes {
    let Publication { topic, kind, at, members, change: _ } = publication;
    let mut frame = String::with_capacity(members.len() + topic.len() + at.len() + kind.len() + 64);
    let (topic, at, kind) = (quoted(topic), quoted(at), quoted(kind));
    let _ = write!(frame, r#"{{"t":"ev","o":{offset},"s":{count},"topic":{topic},"at":{at},"kind":{kind}"#);
    if !members.is_empty() {
        frame.push(',');
        frame.push_str(members);
    }
    frame.push('}');
    frame.into()
}

pub(super) fn welcome(epoch: &str, offset: u64, mode: &str) -> Utf8Bytes {
    format!(r#"{{"t":"welcome","epoch":"{epoch}","o":{offset},"mode":"{mode}"}}"#).into()
}

pub(super) fn bookmark(offset: u64) -> Utf8Bytes {
    format!(r#"{{"t":"bm","o":{offset}}}"#).into()
}

pub(super) fn resync(from: u64, offset: u64) -> Utf8Bytes {
    format!(r#"{{"t":"resync","why":"lag","from":{from},"o":{offset}}}"#).into()
}

/// The frames of one snapshot, each about `bytes` long. At least one, so that the client sees the last.
pub(super) fn snapshot(offset: u64, items: &[Utf8Bytes], bytes: usize) -> Box<[Utf8Bytes]> {
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
        format!(r#"{{"t":"snap","o":{offset},"i":{i},"last":{is_last},"items":[{chunk}]}}"#).into()
    };
    chunks.into_iter().enumerate().map(frame).collect()
}
