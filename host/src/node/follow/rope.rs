//! What an owner gives to who follows a log of its node.

use crate::model::{Ability, LogChannel, ProcessId};
use crate::node::error::NodeError;
use crate::node::leash::Leash;
use crate::node::link::Link;
use crate::node::owner::Owner;
use crate::node::patience::Patience;
use crate::plugin::StreamRequest;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// The way to a stream that rings when a log grows.
pub(in crate::node) struct Rope {
    pub(super) link: Arc<Link>,
    /// Ends with the way to the node.
    pub(super) leash: Arc<Leash>,
    /// None if this kind of node has no such stream, or if too many are open.
    pub(super) stream: Option<(StreamRequest, OwnedSemaphorePermit)>,
}

impl Owner {
    /// Says how to be told that a log grows. The follower opens the stream by itself: one whose log is empty may have no
    /// head for hours, and an owner waits for nobody so long.
    ///
    /// The breaker is asked and not told: an open stream says nothing about the calls of its node.
    pub(in crate::node) async fn rope(
        &mut self,
        process: ProcessId,
        channel: LogChannel,
        patience: &Patience,
    ) -> Result<Rope, NodeError> {
        self.check_patience(patience)?;
        if !self.node.is_enabled {
            return Err(self.disabled(false));
        }
        let adapter = self.adapter()?;
        let now = Instant::now();
        if let Some(retry_after) = self.breaker.refusal(now) {
            return Err(self.breaker_open(retry_after));
        }
        let (link, leash) = (Arc::clone(&self.link), Arc::clone(&self.leash));
        let none = Rope { link: Arc::clone(&link), leash: Arc::clone(&leash), stream: None };
        if !adapter.info().abilities.contains(&Ability::FollowLogs) {
            return Ok(none);
        }
        let Ok(place) = Arc::clone(&self.context.bounds.follow_streams).try_acquire_owned() else {
            return Ok(none);
        };
        let said = tokio::select! {
            biased;
            () = self.leash.cut() => return Err(self.cut_short(false)),
            said = adapter.follow_request(now + self.config.call_timeout, process, channel) => said,
        };
        let request = said.map_err(|error| NodeError::from_adapter(self.node.name.clone(), error))?;
        Ok(Rope { link, leash, stream: request.map(|request| (request, place)) })
    }
}
