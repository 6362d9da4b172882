//! The documents of nodes for the lists, encoded once for each state of a node instead of once for each who asks.

use crate::api::edge::Seen;
use crate::api::error::ApiError;
use crate::api::view;
use crate::model::{NodeId, NodeStatus};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// How much of each node a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Without its processes.
    Short,
    /// With its processes.
    Full,
}

/// The documents last made. At most one of each form for each node of the pool.
#[derive(Debug, Default)]
pub struct Documents {
    short: Kept,
    full: Kept,
}

/// All nodes that there are, whoever may see them.
pub(super) type Here<'a> = &'a mut dyn ExactSizeIterator<Item = &'a NodeId>;

/// Documents of one form, each with the revision of the status that it tells.
type Kept = Mutex<BTreeMap<NodeId, (u64, Bytes)>>;

impl Documents {
    /// `{"items":[...]}` with all these nodes, in their order. What is kept of nodes that are not `here` is let go.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if a document cannot be written, which would be a bug.
    pub(super) fn list(&self, form: Form, nodes: &[Seen], here: Here<'_>) -> Result<Bytes, ApiError> {
        let kept = match form {
            Form::Short => &self.short,
            Form::Full => &self.full,
        };
        let mut documents = find(kept, nodes);
        let mut made = Vec::new();
        for (document, seen) in documents.iter_mut().zip(nodes) {
            if document.is_none() {
                let new = encode(form, seen.status())?;
                // What only some may see is made for each who asks, and never kept for anybody else.
                if let Seen::Whole(status) = seen {
                    made.push((status.id.clone(), (status.revision, new.clone())));
                }
                *document = Some(new);
            }
        }
        keep(kept, made, here);
        let documents: Vec<Bytes> = documents.into_iter().flatten().collect();
        Ok(join(&documents))
    }
}

fn find(kept: &Kept, nodes: &[Seen]) -> Vec<Option<Bytes>> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let find = |seen: &Seen| {
        let Seen::Whole(status) = seen else { return None };
        kept.get(&status.id).filter(|(revision, _)| *revision == status.revision).map(|(_, bytes)| bytes.clone())
    };
    nodes.iter().map(find).collect()
}

/// Takes new documents in, and lets go of those of nodes that left the pool. Of two requests that made one at the same
/// time the later state wins: revisions rise over the whole pool, for a name that came back too.
fn keep(kept: &Kept, made: Vec<(NodeId, (u64, Bytes))>, here: Here<'_>) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, (revision, bytes)) in made {
        if kept.get(&id).is_none_or(|(known, _)| *known <= revision) {
            kept.insert(id, (revision, bytes));
        }
    }
    if kept.len() > here.len() {
        let here: BTreeSet<&NodeId> = here.collect();
        kept.retain(|id, _| here.contains(id));
    }
}

fn encode(form: Form, status: &NodeStatus) -> Result<Bytes, ApiError> {
    let view = match form {
        Form::Short => view::node(status),
        Form::Full => view::node_in_full(status),
    };
    let text = serde_json::to_vec(&view).map_err(|error| ApiError::Internal { what: format!("a node: {error}") })?;
    Ok(text.into())
}

fn join(documents: &[Bytes]) -> Bytes {
    const HEAD: &[u8] = br#"{"items":["#;
    const TAIL: &[u8] = b"]}";
    let size = documents.iter().map(|document| document.len() + 1).sum::<usize>() + HEAD.len() + TAIL.len();
    let mut list = Vec::with_capacity(size);
    list.extend_from_slice(HEAD);
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend_from_slice(document);
    }
    list.extend_from_slice(TAIL);
    list.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::NodeList;
    use crate::model::NodeState;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    fn status(name: &str, revision: u64) -> Arc<NodeStatus> {
        Arc::new(NodeStatus {
            id: NodeId::parse(name).expect("a name"),
            environment: None,
            adapter: "node-x".to_owned(),
            state: NodeState::Live,
            reason: None,
            since: UNIX_EPOCH,
            observed_at: None,
            version: format!("v{revision}"),
            identification: "\"odd\\\u{1}".to_owned(),
            info: None,
            processes: Arc::from([]),
            revision,
        })
    }

    fn listed(documents: &Documents, form: Form, nodes: &[Arc<NodeStatus>]) -> Result<Bytes, ApiError> {
        let seen: Vec<Seen> = nodes.iter().cloned().map(Seen::Whole).collect();
        documents.list(form, &seen, &mut nodes.iter().map(|status| &status.id))
    }

    fn versions(list: &Bytes) -> Vec<String> {
        let list: NodeList = serde_json::from_slice(list).expect("the same document as ever");
        list.items.into_iter().map(|node| node.version).collect()
    }

    #[test]
    fn a_list_of_nothing_is_a_list() {
        assert_eq!(versions(&listed(&Documents::default(), Form::Full, &[]).expect("a list")), [""; 0]);
    }

    #[test]
    fn a_document_is_made_once_for_each_state_of_its_node() {
        let documents = Documents::default();
        let (one, two) = (status("a", 1), status("b", 7));
        listed(&documents, Form::Short, &[Arc::clone(&one), Arc::clone(&two)]).expect("a list");
        let kept = |name: &str| {
            let kept = documents.short.lock().expect("nobody panicked");
            kept.get(&NodeId::parse(name).expect("a name")).expect("kept").1.as_ptr()
        };
        let (first, second) = (kept("a"), kept("b"));
        listed(&documents, Form::Short, &[one, status("b", 8)]).expect("a list");
        assert_eq!(kept("a"), first, "nothing changed there");
        assert_ne!(kept("b"), second);
        assert!(documents.full.lock().expect("nobody panicked").is_empty(), "nobody asked for those");
    }

    #[test]
    fn what_one_may_see_of_a_node_is_never_kept_for_another_and_drops_nothing() {
        let documents = Documents::default();
        let all = [status("a", 1), status("b", 1)];
        let part = Arc::new(NodeStatus { version: "part".to_owned(), ..(*all[0]).clone() });
        let few =
            |seen: Seen| documents.list(Form::Full, &[seen], &mut all.iter().map(|status| &status.id)).expect("a list");
        assert_eq!(versions(&few(Seen::Part(Arc::clone(&part)))), ["part"]);
        assert_eq!(versions(&listed(&documents, Form::Full, &all).expect("a list")), ["v1", "v1"]);
        assert_eq!(versions(&few(Seen::Part(part))), ["part"], "also while the whole one is kept");
        assert_eq!(documents.full.lock().expect("nobody panicked").len(), 2);
    }

    #[test]
    fn nodes_that_left_are_not_kept() {
        let documents = Documents::default();
        listed(&documents, Form::Short, &[status("a", 1), status("b", 1)]).expect("a list");
        listed(&documents, Form::Short, &[status("c", 1)]).expect("a list");
        let kept = || documents.short.lock().expect("nobody panicked").len();
        assert_eq!(kept(), 1);
        listed(&documents, Form::Short, &[]).expect("a list");
        assert_eq!(kept(), 0, "also when nothing new was made");
    }

    proptest! {
        #[test]
        fn whatever_was_asked_before_a_list_tells_the_states_it_was_given(
            rounds in proptest::collection::vec(proptest::collection::vec(0_u64..4, 0..4), 1..6)
        ) {
            let documents = Documents::default();
            for round in rounds {
                let nodes: Vec<_> = round.iter().zip(["a", "b", "c"]).map(|(&r, name)| status(name, r)).collect();
                let told = versions(&listed(&documents, Form::Full, &nodes).expect("a list"));
                let given: Vec<String> = nodes.iter().map(|node| node.version.clone()).collect();
                prop_assert_eq!(told, given);
            }
        }
    }
}
