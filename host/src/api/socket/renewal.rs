use crate::api::socket::allowance::Allowance;
use crate::api::socket::client::End;
use crate::hub::{Close, Link};
use crate::model::{Grant, Secret};
use futures_util::future::BoxFuture;
use std::any::Any;
use std::sync::Arc;

/// Refreshes of one connection, and at once after a rest.
const REFRESHES_PER_SECOND: u64 = 1;
const REFRESHES_BURST: u64 = 10;
/// So many refused one after the other, and the connection is closed.
const REFUSED_MAX: u32 = 3;

/// Judges the credential that a client brings on its open connection.
pub trait Renewal: Send + Sync + std::fmt::Debug {
    /// What the connection stands on from now on.
    ///
    /// # Errors
    /// [`NotRenewed`]; the connection stands on what it stood on.
    ///
    /// # Cancel safety
    /// As a request's authentication: dropping it ends the strategy's call.
    fn renew(&self, token: Secret) -> BoxFuture<'_, Result<Renewed, NotRenewed>>;
}

/// What a connection stands on.
pub struct Renewed {
    /// Ends when it may no longer be there.
    pub grant: Grant,
    /// Kept as long as the connection stands on it.
    pub hold: Arc<dyn Any + Send + Sync>,
    /// Seconds until it ends, if it does.
    pub ttl: Option<u64>,
}

/// Why a connection stands on what it stood on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRenewed {
    /// The stable code, one of those of the API.
    pub code: String,
    /// Words for the client.
    pub detail: String,
    /// It says something about the credential, not about how busy we are.
    pub is_final: bool,
}

/// What one connection stands on, and how often it may ask for something else.
pub(super) struct Standing {
    renewal: Arc<dyn Renewal>,
    /// Replaced with the grant that it belongs to.
    hold: Arc<dyn Any + Send + Sync>,
    refused: u32,
    /// Made with the first refresh: most clients never ask.
    allowance: Option<Box<Allowance>>,
}

impl Standing {
    pub(super) fn new(renewal: Arc<dyn Renewal>, hold: Arc<dyn Any + Send + Sync>) -> Self {
        Self { renewal, hold, refused: 0, allowance: None }
    }

    /// Has a credential judged, and the client told: `refreshed` or `error`. The error is the end of the connection.
    pub(super) async fn refresh(&mut self, link: &Link, token: String) -> Result<(), End> {
        let allowance =
            self.allowance.get_or_insert_with(|| Box::new(Allowance::new(REFRESHES_PER_SECOND, REFRESHES_BURST)));
        if !allowance.take(1) {
            return Err(End::misuse("more than one refresh a second"));
        }
        match self.renewal.renew(Secret::new(token)).await {
            Ok(Renewed { grant, hold, ttl }) => {
                self.refused = 0;
                link.renew(grant, ttl);
                // Let go of behind the note: from here on nobody has to tell the client about the old one.
                self.hold = hold;
            }
            Err(NotRenewed { code, detail, is_final }) => {
                self.refused += u32::from(is_final);
                if self.refused >= REFUSED_MAX {
                    return Err(End::new(Close::BadToken, format!("{REFUSED_MAX} refreshes were refused: {detail}")));
                }
                link.refuse(&code, &detail).map_err(|full| End::misuse(full.to_string()))?;
            }
        }
        Ok(())
    }
}
