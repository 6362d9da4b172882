//! The documents of nodes for the lists, encoded once for each state of a node instead of once for each who asks.

use crate::api::edge::Seen;
use crate::api::encoding::Whole;
use crate::api::error::ApiError;
use crate::api::view;
use crate::model::{NodeId, NodeStatus};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How much of each node a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Without its processes.
    Short,
    /// With its processes.
    Full,
}

/// Whole lists that are kept of each form: of as many pages, and of as many groups of those who may see the same nodes.
const LISTS_MAX: usize = 8;

/// The documents last made. At most one of each form for each node of the pool, and a few whole lists.
#[derive(Debug, Default)]
pub struct Documents {
    short: Kept,
    full: Kept,
    short_lists: Lists,
    full_lists: Lists,
}

/// Whole lists of one form, the last used first.
type Lists = Mutex<VecDeque<List>>;

/// A list with what it tells: the revisions of its nodes, which no other state of any node has, and where it goes on.
#[derive(Debug)]
struct List {
    revisions: Box<[u64]>,
    next: Option<String>,
    whole: Arc<Whole>,
}

/// All nodes that there are, whoever may see them.
pub(super) type Here<'a> = &'a mut dyn ExactSizeIterator<Item = &'a NodeId>;

/// Documents of one form, each with the revision of the status that it tells.
type Kept = Mutex<BTreeMap<NodeId, (u64, Bytes)>>;

impl Documents {
    /// `{"items":[...]}` with all these nodes, in their order, and with `next` if there is one. Made once for each state of
    /// these nodes, whoever asks for them; what only some may see of a node is made for each who asks. What is kept of nodes
    /// that are not `here` is let go.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if a document cannot be written, which would be a bug.
    pub(super) fn list(
        &self,
        form: Form,
        nodes: &[Seen],
        next: Option<&str>,
        here: Here<'_>,
    ) -> Result<Arc<Whole>, ApiError> {
        let Some(revisions) = revisions(nodes) else {
            return Ok(Arc::new(Whole::new(self.written(form, nodes, next, here)?)));
        };
        let lists = match form {
            Form::Short => &self.short_lists,
            Form::Full => &self.full_lists,
        };
        let is_this = |list: &List| list.next.as_deref() == next && list.revisions == revisions;
        {
            let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = lists.iter().position(is_this) {
                let found = lists.remove(at);
                let whole = found.as_ref().map(|list| Arc::clone(&list.whole));
                if let Some(list) = found {
                    lists.push_front(list);
                }
                if let Some(whole) = whole {
                    return Ok(whole);
                }
            }
        }
        let whole = Arc::new(Whole::new(self.written(form, nodes, next, here)?));
        let list = List { revisions, next: next.map(str::to_owned), whole: Arc::clone(&whole) };
        let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.push_front(list);
        lists.truncate(LISTS_MAX);
        Ok(whole)
    }

    fn written(&self, form: Form, nodes: &[Seen], next: Option<&str>, here: Here<'_>) -> Result<Bytes, ApiError> {
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
        Ok(join(&documents, next))
    }
}

/// The revisions of these nodes, if each is seen whole.
fn revisions(nodes: &[Seen]) -> Option<Box<[u64]>> {
    let revision = |seen: &Seen| match seen {
        Seen::Whole(status) => Some(status.revision),
        Seen::Part(_) => None,
    };
    nodes.iter().map(revision).collect()
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

fn join(documents: &[Bytes], next: Option<&str>) -> Bytes {
    const HEAD: &[u8] = br#"{"items":["#;
    const TAIL: &[u8] = b"]}";
    let next = next.map(|next| format!(r#"],"next":{}}}"#, serde_json::Value::from(next)));
    let tail = next.as_deref().map_or(TAIL, str::as_bytes);
    let size = documents.iter().map(|document| document.len() + 1).sum::<usize>() + HEAD.len() + tail.len();
    let mut list = Vec::with_capacity(size);
    list.extend_from_slice(HEAD);
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend_from_slice(document);
    }
    list.extend_from_slice(tail);
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

    fn listed(documents: &Documents, form: Form, nodes: &[Arc<NodeStatus>]) -> Result<Arc<Whole>, ApiError> {
        let seen: Vec<Seen> = nodes.iter().cloned().map(Seen::Whole).collect();
        documents.list(form, &seen, None, &mut nodes.iter().map(|status| &status.id))
    }

    fn versions(list: &Whole) -> Vec<String> {
        let list: NodeList = serde_json::from_slice(list.bytes()).expect("the same document as ever");
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
        let few = |seen: Seen| {
            documents.list(Form::Full, &[seen], None, &mut all.iter().map(|status| &status.id)).expect("a list")
        };
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

    #[test]
    fn a_list_is_made_once_for_each_state_of_its_nodes_and_for_each_group_that_sees_others() {
        let documents = Documents::default();
        let (one, two) = (status("a", 1), status("b", 7));
        let list = |nodes: &[&Arc<NodeStatus>], next| {
            let seen: Vec<Seen> = nodes.iter().map(|node| Seen::Whole(Arc::clone(node))).collect();
            documents.list(Form::Short, &seen, next, &mut nodes.iter().map(|node| &node.id)).expect("a list")
        };
        let (all, some) = (list(&[&one, &two], None), list(&[&one], None));
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&all, &list(&[&one, &two], None)) && Arc::ptr_eq(&some, &list(&[&one], None)));
        }
        let first_page = list(&[&one], Some("a\"b"));
        assert!(!Arc::ptr_eq(&first_page, &some), "it goes on");
        let told: NodeList = serde_json::from_slice(first_page.bytes()).expect("a page");
        assert_eq!((told.items.len(), told.next.as_deref()), (1, Some("a\"b")));
        let changed = status("b", 8);
        assert_eq!(versions(&list(&[&one, &changed], None)), ["v1", "v8"]);
        for revision in 100..200 {
            list(&[&status("a", revision)], None);
        }
        assert_eq!(documents.short_lists.lock().expect("whole").len(), LISTS_MAX);
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
