//! Who is in the pool: one seat for each node, changed by one task.

use crate::config::NodeConfig;
use crate::model::{Event, EventBody, NodeId};
use crate::node::inbox::inbox;
use crate::node::leash::{Leash, Pull};
use crate::node::owner::Owner;
use crate::node::pool::{NodeHandle, Nodes, PoolContext, initial};
use crate::task::{TaskGroup, until};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Changes of the pool that may wait. Beyond it who asks for another waits as well.
pub(super) const CHANGES_MAX: usize = 8;

/// How soon an owner that panicked begins anew: not so soon that one that always does costs a core.
const BEGIN_ANEW_AFTER: Duration = Duration::from_secs(1);

/// What [`super::Pool::apply`] did, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolChange {
    /// Names that were not there before.
    pub added: Vec<NodeId>,
    /// Names whose settings differ from before.
    pub changed: Vec<NodeId>,
    /// Names that are there no more.
    pub removed: Vec<NodeId>,
}

/// The nodes that a pool is to have.
pub(super) struct Reconfigure {
    pub(super) nodes: Vec<NodeConfig>,
    pub(super) reply: oneshot::Sender<PoolChange>,
}

/// The task that starts and ends owners.
pub(super) struct Keeper {
    context: Arc<PoolContext>,
    shown: Arc<Nodes>,
    tasks: TaskGroup,
    seats: BTreeMap<NodeId, Seat>,
    /// Notified by an owner's panic.
    fallen: Arc<Notify>,
}

/// Tells of the panic of whoever holds it.
struct Witness(Arc<Notify>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

/// One node's place in the pool.
struct Seat {
    node: NodeConfig,
    handle: NodeHandle,
    leash: Arc<Leash>,
    owner: JoinHandle<Owner>,
}

impl Keeper {
    /// Seats the first nodes, which are shown when this returns.
    pub(super) fn start(
        nodes: Vec<NodeConfig>,
        context: Arc<PoolContext>,
        shown: Arc<Nodes>,
        tasks: TaskGroup,
    ) -> Self {
        let mut keeper = Self { context, shown, tasks, seats: BTreeMap::new(), fallen: Arc::default() };
        for node in nodes {
            // One that is left alone has no news of its own to come.
            let is_news = !node.is_enabled;
            let seat = keeper.seat(node, is_news);
            keeper.seats.insert(seat.node.name.clone(), seat);
        }
        keeper.show();
        keeper
    }

    /// Makes changes as they come, one after the other, until the pool stops.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Reconfigure>) {
        let mut anew_at: Option<Instant> = None;
        loop {
            let fallen = Arc::clone(&self.fallen);
            let next = tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return,
                () = until(anew_at) => {
                    anew_at = None;
                    self.begin_anew().await;
                    continue;
                }
                () = fallen.notified() => {
                    anew_at.get_or_insert_with(|| Instant::now() + BEGIN_ANEW_AFTER);
                    continue;
                }
                next = inbox.recv() => next,
            };
            let Some(Reconfigure { nodes, reply }) = next else { return };
            let change = self.apply(nodes).await;
            drop(reply.send(change)); // who asked may have left
        }
    }

    /// Seats an owner anew where one fell.
    async fn begin_anew(&mut self) {
        let fallen = self.seats.values().filter(|seat| seat.owner.is_finished()).map(|seat| seat.node.clone());
        for node in fallen.collect::<Vec<_>>() {
            self.replace(node).await;
        }
        self.show();
    }

    fn set_out(&self, owner: Owner, node: &NodeId) -> JoinHandle<Owner> {
        let witness = Witness(Arc::clone(&self.fallen));
        self.tasks.named(node.as_str(), async move {
            let _witness = witness;
            owner.run().await
        })
    }

    async fn apply(&mut self, nodes: Vec<NodeConfig>) -> PoolChange {
        let wanted: BTreeMap<NodeId, NodeConfig> = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
        let mut change = PoolChange::default();
        let leaving: Vec<Seat> =
            self.seats.extract_if(.., |name, _| !wanted.contains_key(name)).map(|(_, seat)| seat).collect();
        let mut changed = Vec::new();
        for (name, node) in wanted {
            match self.seats.get(&name) {
                None => {
                    let seat = self.seat(node, true);
                    change.added.push(name.clone());
                    self.seats.insert(name, seat);
                }
                Some(seat) if seat.node != node => changed.push(node),
                Some(_) => {}
            }
        }
        // First nobody finds them any more, then they end.
        self.show();
        leaving.iter().for_each(|seat| seat.leash.pull(Pull::Removed));
        for node in &changed {
            if let Some(seat) = self.seats.get(&node.name) {
                seat.leash.pull(pull(&seat.node, node));
            }
        }
        for seat in leaving {
            change.removed.push(seat.node.name.clone());
            self.take_leave(seat).await;
        }
        let mut has_fallen = false;
        for node in changed {
            change.changed.push(node.name.clone());
            has_fallen |= self.replace(node).await;
        }
        if has_fallen {
            self.show();
        }
        change
    }

    /// Waits for an owner's end and tells that its node is gone, each process first: what was told is taken back.
    async fn take_leave(&self, seat: Seat) {
        let Seat { node, handle, owner, .. } = seat;
        if let Err(error) = owner.await {
            tracing::error!(node = %node.name, %error, "the owner of a node had failed");
        }
        for observed in handle.status().processes.iter() {
            self.tell(&node.name, EventBody::ProcessRemoved(observed.process.id.clone())).await;
        }
        self.tell(&node.name, EventBody::NodeRemoved).await;
        tracing::info!(node = %node.name, "node removed");
    }

    /// Waits for an owner to let go of its node and has it go on with other settings. True if it had failed: then the
    /// node has another handle, which is to be shown.
    async fn replace(&mut self, node: NodeConfig) -> bool {
        let Some(Seat { handle, owner, .. }) = self.seats.remove(&node.name) else { return false };
        let name = node.name.clone();
        let owner = owner.await;
        let has_fallen = owner.is_err();
        let seat = match owner {
            Ok(owner) => {
                let leash = Arc::new(Leash::new(&self.context.stop));
                let owner = owner.with_settings(node.clone(), Arc::clone(&leash));
                let owner = self.set_out(owner, &name);
                Seat { node, handle, leash, owner }
            }
            Err(error) => {
                tracing::error!(node = %name, %error, "the owner of a node had failed; it begins anew");
                for observed in handle.status().processes.iter() {
                    self.tell(&name, EventBody::ProcessRemoved(observed.process.id.clone())).await;
                }
                self.seat(node, true)
            }
        };
        self.seats.insert(name, seat);
        has_fallen
    }

    /// Starts an owner. `is_news` tells the feed of the node at once.
    fn seat(&self, node: NodeConfig, is_news: bool) -> Seat {
        let (requests, inbox) = inbox(self.context.settings());
        let (status, seen) = watch::channel(Arc::new(initial(&node, self.context.revision())));
        let leash = Arc::new(Leash::new(&self.context.stop));
        let mut owner = Owner::new(&node, Arc::clone(&self.context), Arc::clone(&leash), inbox, status);
        owner.is_news = is_news;
        let handle = NodeHandle::new(node.name.clone(), requests, seen, self.context.stop.clone());
        let owner = self.set_out(owner, &node.name);
        Seat { node, handle, leash, owner }
    }

    fn show(&self) {
        let nodes = self.seats.iter().map(|(name, seat)| (name.clone(), seat.handle.clone())).collect();
        self.shown.store(Arc::new(nodes));
    }

    async fn tell(&self, node: &NodeId, body: EventBody) {
        if let Ok(slot) = self.context.events.reserve().await {
            slot.send(Event { node: node.clone(), at: SystemTime::now(), body });
        }
    }
}

/// Another environment is a word that is told; everything else is about the connection.
fn pull(old: &NodeConfig, new: &NodeConfig) -> Pull {
    let same_but_for_the_environment = NodeConfig { environment: old.environment.clone(), ..new.clone() } == *old;
    if same_but_for_the_environment { Pull::Renamed } else { Pull::Replaced }
}
