//! Carries what nodes and plugins tell to the feed: the one place where an event becomes JSON, once for all clients.

use crate::api::view;
use crate::app::restored::Restored;
use crate::hub::{Change, Hub, Publication};
use crate::model::{Event, EventBody, Transition};
use crate::plugin::{PluginEvent, PluginEventKind};
use serde::Serialize;
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Passes on that grants have ended, each at its place among the events, until `stop`. Nobody waits here until that is
/// applied.
pub(super) async fn revoke(mut revocations: mpsc::Receiver<oneshot::Sender<()>>, hub: Hub, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(done) = revocations.recv() => hub.revoke(done),
            else => return,
        }
    }
}

/// Publishes every event, in order, until all nodes and plugins are gone. Of what was inherited from the host before, what
/// `restored` holds is told only where it is not so any more.
pub(super) async fn run(
    mut events: mpsc::Receiver<Event>,
    mut swaps: mpsc::Receiver<PluginEvent>,
    mut restored: Restored,
    hub: Hub,
) {
    loop {
        tokio::select! {
            Some(event) = events.recv() => {
                for publication in restored.take(&event) {
                    hub.publish(publication);
                }
            }
            Some(event) = swaps.recv() => match plugin_publication(&event) {
                Ok(publication) => {
                    hub.publish(publication);
                }
                Err(error) => {
                    tracing::error!(plugin = event.report.name, %error, "an event could not be written as JSON");
                }
            },
            else => return,
        }
    }
}

/// A plugin of the host before this one, which this one does not have. `item` is how it was.
pub(super) fn removed_plugin(name: &str, item: &str, at: SystemTime) -> Option<Publication> {
    let topic = format!("plugin/{name}");
    let known = item.strip_prefix(&format!("{{\"topic\":\"{topic}\","))?.strip_suffix('}')?;
    let members = format!("{known},\"reason\":\"it was not there when the server started\"");
    let change = Change::Remove { key: format!("/plugin/{name}") };
    let kind = PluginEventKind::Removed.as_str();
    Some(Publication { topic, kind, at: view::timestamp(at), members, change })
}

fn plugin_publication(event: &PluginEvent) -> Result<Publication, serde_json::Error> {
    let name = &event.report.name;
    let topic = format!("plugin/{name}");
    // A slash first: no node is called so.
    let key = format!("/plugin/{name}");
    let view = serde_json::to_string(&view::plugin_on_feed(&event.report))?;
    let reason = serde_json::to_string(&event.reason)?;
    let change = match event.kind {
        PluginEventKind::Removed => Change::Remove { key },
        PluginEventKind::Activated
        | PluginEventKind::Canary
        | PluginEventKind::RolledBack
        | PluginEventKind::Quarantined
        | PluginEventKind::Released => Change::Put { key, item: item(&topic, &format!("\"plugin\":{view}")) },
    };
    let members = format!("\"plugin\":{view},\"reason\":{reason}");
    Ok(Publication { topic, kind: event.kind.as_str(), at: view::timestamp(event.at), members, change })
}

/// An event as the feed tells it.
pub(super) fn publication(event: &Event) -> Result<Publication, serde_json::Error> {
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
            let Some(before) = before else { return Ok(told(&process_topic, "added", members, change)) };
            // What happened is news; what stands in a snapshot is how things are.
            let transition = Transition::of(&before.process, &after.process).as_str();
            let members = format!("{members},\"transition\":\"{transition}\"");
            told(&process_topic, "changed", members, change)
        }
        EventBody::ProcessRemoved(id) => {
            let id = id.to_string();
            let members = members(name, "id", &id)?;
            told(&process_topic, "removed", members, Change::Remove { key: key(&id) })
        }
        EventBody::NodeRemoved => {
            let members = format!("\"node\":{}", serde_json::to_string(name)?);
            told(&node_topic, "removed", members, Change::Remove { key: node_key })
        }
    })
}

pub(super) fn members(node: &str, name: &str, value: &impl Serialize) -> Result<String, serde_json::Error> {
    let (node, value) = (serde_json::to_string(node)?, serde_json::to_string(value)?);
    Ok(format!("\"node\":{node},\"{name}\":{value}"))
}

/// Topics are made of node names, which need no escaping.
pub(super) fn item(topic: &str, members: &str) -> String {
    format!("{{\"topic\":\"{topic}\",{members}}}")
}
