//! Carries what nodes tell to the feed: the one place where an event becomes JSON, once for all clients.

use crate::api::view;
use crate::hub::{Change, Hub, Publication};
use crate::model::{Event, EventBody};
use serde::Serialize;
use tokio::sync::mpsc;

/// Publishes every event, in order, until all nodes are gone.
pub(super) async fn run(mut events: mpsc::Receiver<Event>, hub: Hub) {
    while let Some(event) = events.recv().await {
        match publication(&event) {
            Ok(publication) => {
                hub.publish(publication);
            }
            Err(error) => tracing::error!(node = %event.node, %error, "an event could not be written as JSON"),
        }
    }
}

fn publication(event: &Event) -> Result<Publication, serde_json::Error> {
    let name = event.node.as_str();
    let node_topic = format!("node/{name}/state");
    let process_topic = format!("proc/{name}/state");
    let told = |topic: &str, kind, members, change| Publication {
        topic: topic.to_owned(),
        kind,
        at: view::timestamp(event.at),
        members,
        change,
    };
    let node_key = format!("{name}/");
    let key = |process: &str| format!("{name}/{process}");
    Ok(match &event.body {
        EventBody::Node(status) => {
            let members = members(name, "state", &view::node_on_feed(status))?;
            let change = Change::Put { key: node_key, item: item(&node_topic, &members) };
            told(&node_topic, "changed", members, change)
        }
        EventBody::Process { before, after } => {
            let view = view::process(after);
            let members = members(name, "process", &view)?;
            let change = Change::Put { key: key(&view.id), item: item(&process_topic, &members) };
            let kind = if before.is_some() { "changed" } else { "added" };
            told(&process_topic, kind, members, change)
        }
        EventBody::ProcessRemoved(id) => {
            let id = id.to_string();
            let members = members(name, "id", &id)?;
            told(&process_topic, "removed", members, Change::Remove { key: key(&id) })
        }
    })
}

fn members(node: &str, name: &str, value: &impl Serialize) -> Result<String, serde_json::Error> {
    let (node, value) = (serde_json::to_string(node)?, serde_json::to_string(value)?);
    Ok(format!("\"node\":{node},\"{name}\":{value}"))
}

/// Topics are made of node names, which need no escaping.
fn item(topic: &str, members: &str) -> String {
    format!("{{\"topic\":\"{topic}\",{members}}}")
}
