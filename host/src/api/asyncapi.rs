//! The AsyncAPI document of the feed: every message, with the schemas of the types that the messages are made from.

use crate::api::credential;
use crate::api::wire::log::LogEvent;
use crate::api::wire::{NodeView, PluginView, ProcessView};
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The document, in AsyncAPI 3.0. `docs/api.md` says what a schema cannot.
///
/// # Errors
/// Only if it cannot be written as JSON, which would be a bug.
pub fn asyncapi() -> Result<String, serde_json::Error> {
    let (from_clients, from_server) = (from_clients(), from_server(&log_members()?));
    let of_channel = |name: &&'static str| json!({ "$ref": format!("#/channels/feed/messages/{name}") });
    let names = |messages: &[Message]| messages.iter().map(|message| of_channel(&message.name)).collect::<Vec<_>>();
    let (received, sent) = (names(&from_clients), names(&from_server));
    let (mut in_channel, mut messages) = (Map::new(), Map::new());
    for Message { name, summary, payload } in from_clients.into_iter().chain(from_server) {
        in_channel.insert(name.to_owned(), json!({ "$ref": format!("#/components/messages/{name}") }));
        messages.insert(name.to_owned(), json!({ "name": name, "summary": summary, "payload": payload }));
    }
    serde_json::to_string(&json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Omnivisor: the feed",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that happens, to everyone who may see it, in order and resumable. One JSON document a text frame.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": { "feed": {
            "address": "/api/v1/feed",
            "description": "A WebSocket with the subprotocol `feed.v1`.",
            "messages": in_channel,
            "bindings": { "ws": { "method": "GET" } },
        } },
        "operations": {
            "ask": { "action": "receive", "channel": { "$ref": "#/channels/feed" }, "messages": received },
            "tell": { "action": "send", "channel": { "$ref": "#/channels/feed" }, "messages": sent },
        },
        "components": {
            "messages": messages,
            "schemas": schemas()?,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "httpApiKey", "in": "cookie", "name": credential::SECURE_COOKIE },
                "ticket": { "type": "httpApiKey", "in": "query", "name": credential::TICKET },
            },
        },
    }))
}

struct Message {
    name: &'static str,
    summary: &'static str,
    payload: Value,
}

/// A message whose `t` is its name.
fn message(
    name: &'static str,
    summary: &'static str,
    required: &[(&str, Value)],
    optional: &[(&str, Value)],
) -> Message {
    let tagged: Vec<(&str, Value)> =
        [("t", json!({ "const": name }))].into_iter().chain(required.iter().cloned()).collect();
    Message { name, summary, payload: object(&tagged, optional) }
}

/// An object that has these members and no others.
fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let members = required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "properties": members.collect::<Map<_, _>>(),
        "required": names,
        "additionalProperties": false,
    })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn from_clients() -> Vec<Message> {
    let places = json!({ "type": "object", "additionalProperties": number() });
    vec![
        message(
            "hello",
            "What the client asks for: first, once, within 5 seconds.",
            &[("sub", list(&text()))],
            &[("log", list(&text())), ("log_from", places), ("since", text())],
        ),
        Message {
            name: "follow",
            summary: "The logs that the client follows from now on, and no others.",
            payload: object(&[("t", json!({ "const": "logs" })), ("log", list(&text()))], &[]),
        },
        message("refresh", "Another credential of the same subject.", &[("token", text())], &[]),
    ]
}

fn from_server(log: &[(String, Value)]) -> Vec<Message> {
    let logs: Vec<(&str, Value)> = log.iter().map(|(name, schema)| (name.as_str(), schema.clone())).collect();
    let always = ["node", "process", "channel", "at"];
    let (always, sometimes): (Vec<_>, Vec<_>) = logs.into_iter().partition(|(name, _)| always.contains(name));
    let place = |name| vec![("o", number()), ("topic", text()), ("n", number()), (name, number())];
    let followed = object(&[("topic", text()), ("n", number())], &[]);
    let denied = object(&[("topic", text()), ("why", one_of(&["forbidden", "full"]))], &[]);
    let extent = one_of(&["snapshot", "changes"]);
    vec![
        message(
            "welcome",
            "The answer to the hello: which log this is, and how the client goes on.",
            &[("epoch", text()), ("o", number()), ("mode", one_of(&["snapshot", "replay", "changes"]))],
            &[],
        ),
        message(
            "snap",
            "A piece of the state at one offset.",
            &[("o", number()), ("i", number()), ("last", flag()), ("items", list(&item()))],
            &[],
        ),
        Message { name: "ev", summary: "Something happened.", payload: event() },
        message("bm", "Nothing happened for a while; the position goes on.", &[("o", number())], &[]),
        message(
            "resync",
            "The client starts over: snapshot frames follow.",
            &[("why", one_of(&["lag", "rights"])), ("from", number()), ("o", number()), ("mode", extent)],
            &[("epoch", text())],
        ),
        message(
            "logs",
            "The logs that the client follows now, with the number of the line that comes next.",
            &[("log", list(&followed))],
            &[("denied", list(&denied))],
        ),
        message(
            "log",
            "A piece of a followed log, a gap in it, or a word about it.",
            &[place("lines"), always].concat(),
            &sometimes,
        ),
        message(
            "skip",
            "Lines that the client is taken past, both ends included.",
            &[("stream", text()), ("from", number()), ("to", number()), ("n", number())],
            &[],
        ),
        message(
            "revoked",
            "What begins so may no longer be seen, and has to be forgotten.",
            &[("topics", list(&text())), ("epoch", text())],
            &[],
        ),
        message("expiring", "The credential ends in so many seconds.", &[("in", number())], &[]),
        message("refreshed", "The connection stands on the credential that was brought.", &[], &[("ttl", number())]),
        message("error", "What was asked for was not done.", &[("code", text()), ("detail", text())], &[]),
        message(
            "drain",
            "The server closes this connection after so long.",
            &[("after_ms", number())],
            &[("resume", text())],
        ),
    ]
}

/// What an event or an item says, by what it is about.
fn subjects() -> [(&'static str, Vec<(&'static str, Value)>); 3] {
    [
        ("state", vec![("node", text()), ("state", schema("NodeView"))]),
        ("process", vec![("node", text()), ("process", schema("ProcessView"))]),
        ("plugin", vec![("plugin", schema("PluginView"))]),
    ]
}

fn item() -> Value {
    let there = subjects().map(|(_, members)| object(&[vec![("topic", text())], members].concat(), &[]));
    let gone = object(
        &[("topic", text()), ("kind", json!({ "const": "removed" }))],
        &[("node", text()), ("id", text()), ("plugin", schema("PluginView")), ("reason", text())],
    );
    json!({ "oneOf": there.into_iter().chain([gone]).collect::<Vec<_>>() })
}

fn event() -> Value {
    let of = |kinds: &[&str], members: &[(&str, Value)], optional: &[(&str, Value)]| {
        let head = [
            ("t", json!({ "const": "ev" })),
            ("o", number()),
            ("s", number()),
            ("topic", text()),
            ("at", text()),
            ("kind", one_of(kinds)),
        ];
        object(&[&head[..], members].concat(), optional)
    };
    let [(_, node), (_, process), (_, plugin)] = subjects();
    let plugin = [plugin, vec![("reason", text())]].concat();
    let transitions =
        ["starting", "started", "restarted", "stopping", "stopped", "exited", "failed", "lost", "changed"];
    json!({ "oneOf": [
        of(&["changed"], &node, &[]),
        of(&["removed"], &[("node", text())], &[]),
        of(&["added"], &process, &[]),
        of(&["changed"], &[process, vec![("transition", one_of(&transitions))]].concat(), &[]),
        of(&["removed"], &[("node", text()), ("id", text())], &[]),
        of(&["activated", "canary", "rolled-back", "quarantined", "released", "removed"], &plugin, &[]),
    ] })
}

/// The members of a log's frame, as its type has them.
fn log_members() -> Result<Vec<(String, Value)>, serde_json::Error> {
    let schema = serde_json::to_value(LogEvent::schema())?;
    let members = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    Ok(members.into_iter().collect())
}

/// The types that messages are made from, and what these are made from.
fn schemas() -> Result<Map<String, Value>, serde_json::Error> {
    let mut found: Vec<(String, RefOr<Schema>)> = vec![
        (NodeView::name().into_owned(), NodeView::schema()),
        (ProcessView::name().into_owned(), ProcessView::schema()),
        (PluginView::name().into_owned(), PluginView::schema()),
    ];
    NodeView::schemas(&mut found);
    ProcessView::schemas(&mut found);
    PluginView::schemas(&mut found);
    found.into_iter().map(|(name, schema)| Ok((name, serde_json::to_value(schema)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::FeedRequest;
    use std::collections::BTreeSet;

    /// The frames are written in one file, each with its type.
    #[test]
    fn every_message_that_the_hub_writes_is_in_the_document_and_no_other() {
        let source = include_str!("../hub/frames.rs");
        let written: BTreeSet<&str> =
            source.split(r#"{{"t":""#).skip(1).filter_map(|rest| rest.split_once('"').map(|(name, _)| name)).collect();
        assert!(written.len() > 10, "{written:?}");
        let told: BTreeSet<&str> = from_server(&[]).iter().map(|message| message.name).collect();
        assert_eq!(written, told);
        let document: Value = serde_json::from_str(&asyncapi().unwrap()).unwrap();
        let messages = document["components"]["messages"].as_object().unwrap();
        assert!(told.iter().all(|name| messages.contains_key(*name)));
        assert_eq!(messages.len(), told.len() + from_clients().len());
    }

    /// What the document lets a client say is what is read.
    #[test]
    fn what_clients_may_say_has_the_members_that_are_read() {
        for Message { name, payload, .. } in from_clients() {
            let members = payload["properties"].as_object().unwrap();
            let example = |(member, schema): (&String, &Value)| {
                let value = match (schema["const"].as_str(), schema["type"].as_str()) {
                    (Some(word), _) => json!(word),
                    (None, Some("array")) => json!(["x"]),
                    (None, Some("object")) => json!({ "x": 1 }),
                    (None, _) => json!("x"),
                };
                (member.clone(), value)
            };
            let whole: Map<String, Value> = members.iter().map(example).collect();
            let read = |message: Value| serde_json::from_value::<FeedRequest>(message);
            assert!(read(whole.clone().into()).is_ok(), "{name}");
            for required in payload["required"].as_array().unwrap() {
                let mut less = whole.clone();
                less.remove(required.as_str().unwrap());
                assert!(read(less.into()).is_err(), "{name} without {required}");
            }
            let more = [("stray".to_owned(), json!(1))].into_iter().chain(whole).collect::<Map<_, _>>();
            assert!(read(more.into()).is_err(), "{name} with more");
        }
    }
}
