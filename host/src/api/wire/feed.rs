//! What the feed's routes say besides its frames.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A ticket for one connection to the feed. It is shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct FeedTicket {
    /// The ticket: send it as `?ticket=TICKET`, or among the subprotocols as `ticket.TICKET`.
    pub ticket: String,
    /// Seconds for which it is good.
    pub expires_in_s: u64,
}
