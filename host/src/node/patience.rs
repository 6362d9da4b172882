//! Who waits for a call, and how long.

use crate::config::PoolConfig;
use crate::model::Behalf;
use crate::node::figures::CallKind;
use crate::node::link::Repeat;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a caller's request is of use, and whether the caller is still there.
///
/// A read ends at `until`, and at once when the caller has left. An order that is not sent by then, or whose caller has
/// left before, is not sent at all; once it is sent it goes on in any case.
#[derive(Debug, Clone)]
pub struct Patience {
    /// The end of the request's own time. Waiting in queues counts.
    pub until: Instant,
    /// Cancelled when the caller leaves.
    pub left: CancellationToken,
    /// The request that it is about, if it is one.
    pub behalf: Option<Arc<Behalf>>,
}

impl Patience {
    /// A caller that stays, and whose time ends then.
    #[must_use]
    pub fn until(until: Instant) -> Self {
        Self { until, left: CancellationToken::new(), behalf: None }
    }

    /// The same for this request.
    #[must_use]
    pub fn of(self, behalf: Arc<Behalf>) -> Self {
        Self { behalf: Some(behalf), ..self }
    }
}

/// On whose behalf a call is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand<'a> {
    /// A look of our own.
    Look,
    /// A caller's look, such as that before an order.
    Read(&'a Patience),
    /// A caller's read of a log.
    Log(&'a Patience),
    /// A caller's order, not sent yet.
    Order(&'a Patience),
    /// What is left of an order that was sent.
    Rest,
}

impl Errand<'_> {
    /// What calls are told apart by in figures.
    pub(super) const fn kind(&self) -> CallKind {
        match self {
            Self::Look | Self::Read(_) => CallKind::Look,
            Self::Log(_) => CallKind::Log,
            Self::Order(_) | Self::Rest => CallKind::Order,
        }
    }

    /// The request that it is about. What is left of an order that was sent is the order's own and nobody's request.
    pub(super) fn behalf(&self) -> Option<Arc<Behalf>> {
        match self {
            Self::Look | Self::Rest => None,
            Self::Read(patience) | Self::Log(patience) | Self::Order(patience) => patience.behalf.clone(),
        }
    }

    /// The time by which the call has to have a place.
    pub(super) fn begin_by(&self) -> Option<Instant> {
        match self {
            Self::Look | Self::Rest => None,
            Self::Read(patience) | Self::Log(patience) | Self::Order(patience) => Some(patience.until),
        }
    }

    /// The time by which the call has to end, if that is not the node's to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Read(patience) | Self::Log(patience) => Some(patience.until),
            Self::Look | Self::Order(_) | Self::Rest => None,
        }
    }

    /// How long the call may take, by the settings.
    pub(super) fn limit(&self, config: &PoolConfig) -> Duration {
        match self {
            Self::Look | Self::Read(_) => config.call_timeout,
            Self::Log(_) => config.log_timeout,
            Self::Order(_) | Self::Rest => config.order_timeout,
        }
    }

    /// Only what changes nothing may be sent a second time.
    pub(super) fn repeat(&self) -> Repeat {
        match self {
            Self::Look | Self::Read(_) | Self::Log(_) => Repeat::Once,
            Self::Order(_) | Self::Rest => Repeat::Never,
        }
    }

    /// Ends when the call under way is of no use to anybody.
    pub(super) async fn left(&self) {
        match self {
            Self::Read(patience) | Self::Log(patience) => patience.left.cancelled().await,
            Self::Look | Self::Order(_) | Self::Rest => std::future::pending().await,
        }
    }

    /// Ends when nobody waits for the call to begin.
    pub(super) async fn waits_no_more(&self) {
        match self {
            Self::Read(patience) | Self::Log(patience) | Self::Order(patience) => patience.left.cancelled().await,
            Self::Look | Self::Rest => std::future::pending().await,
        }
    }
}
