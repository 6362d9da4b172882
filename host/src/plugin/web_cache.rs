//! What plugins fetched, for the calls after: a plugin's own memory ends with each call.

use crate::plugin::{ExchangeFailure, ExchangeResponse};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Plugins with anything kept, URLs of one plugin, and bytes of one plugin. Beyond, what was used least recently goes.
const PLUGINS_MAX: usize = 64;
const URLS_MAX: usize = 64;
const BYTES_MAX: usize = 2 << 20;
/// A URL is asked anew at most once in this time, however often that is wanted.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Answers by plugin and URL. A cheap handle; all clones are one cache.
#[derive(Clone, Default)]
pub struct WebCache {
    shelves: Arc<Mutex<BTreeMap<Arc<str>, Shelf>>>,
}

/// What came of asking.
pub(super) type Outcome = Result<Arc<ExchangeResponse>, ExchangeFailure>;

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// At most so old, and no older than its server said.
    MaxAge(Duration),
    /// New, or that of the last time if that was less than 10 s ago.
    Refresh,
}

/// What to do about a URL.
pub(super) enum Next {
    /// Nothing: this is the answer, and its age.
    Take(Outcome, Duration),
    /// Wait: another call is asking. When the sender is gone without an outcome, look again.
    Wait(watch::Receiver<Option<Outcome>>),
    /// Ask, and tell.
    Ask(Asking),
}

/// One call's turn to ask. Dropped without an outcome, another call's turn comes.
pub(super) struct Asking {
    cache: WebCache,
    plugin: Arc<str>,
    url: String,
    tell: watch::Sender<Option<Outcome>>,
}

/// What is kept of one plugin.
#[derive(Default)]
struct Shelf {
    entries: BTreeMap<String, Entry>,
    used: Option<Instant>,
}

#[derive(Default)]
struct Entry {
    /// The last good answer, since when, and how long its server lets it be used.
    kept: Option<(Arc<ExchangeResponse>, Instant, Option<Duration>)>,
    /// What came of asking last, and when.
    asked: Option<(Outcome, Instant)>,
    asking: Option<watch::Receiver<Option<Outcome>>>,
    used: Option<Instant>,
}

impl fmt::Debug for WebCache {
    /// Shows nothing of what is kept: URLs and answers may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebCache").finish_non_exhaustive()
    }
}

impl WebCache {
    pub(super) fn next(&self, plugin: &Arc<str>, url: &str, freshness: Freshness, now: Instant) -> Next {
        let mut shelves = self.shelves();
        if !shelves.contains_key(plugin) && shelves.len() >= PLUGINS_MAX {
            let oldest = shelves.iter().min_by_key(|(_, shelf)| shelf.used).map(|(plugin, _)| Arc::clone(plugin));
            oldest.and_then(|oldest| shelves.remove(&oldest));
        }
        let shelf = shelves.entry(Arc::clone(plugin)).or_default();
        let entry = shelf.entries.entry(url.to_owned()).or_default();
        (shelf.used, entry.used) = (Some(now), Some(now));
        if let Some((outcome, age)) = entry.fresh(freshness, now) {
            return Next::Take(outcome, age);
        }
        if let Some(asking) = entry.asking() {
            return Next::Wait(asking.clone());
        }
        let (tell, asking) = watch::channel(None);
        entry.asking = Some(asking);
        shelf.shrink();
        Next::Ask(Asking { cache: self.clone(), plugin: Arc::clone(plugin), url: url.to_owned(), tell })
    }

    fn shelves(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Keeps what came of it and tells those who wait.
    pub(super) fn settle(self, outcome: &Outcome, now: Instant) {
        let mut shelves = self.cache.shelves();
        if let Some(shelf) = shelves.get_mut(&self.plugin)
            && let Some(entry) = shelf.entries.get_mut(&self.url)
        {
            entry.asking = None;
            entry.asked = Some((outcome.clone(), now));
            if let Ok(response) = outcome
                && response.status == 200
            {
                let lifetime = lifetime(&response.headers);
                let may_be_kept = lifetime.is_none_or(|lifetime| !lifetime.is_zero());
                entry.kept = may_be_kept.then(|| (Arc::clone(response), now, lifetime));
            }
            shelf.shrink();
        }
        drop(shelves);
        self.tell.send_replace(Some(outcome.clone()));
    }
}

impl Shelf {
    /// Lets go of what was used least recently, and not of what is being asked for.
    fn shrink(&mut self) {
        while self.entries.len() > URLS_MAX || self.bytes() > BYTES_MAX {
            let idle = self.entries.iter().filter(|(_, entry)| entry.asking().is_none());
            let Some(url) = idle.min_by_key(|(_, entry)| entry.used).map(|(url, _)| url.clone()) else { return };
            self.entries.remove(&url);
        }
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|(url, entry)| url.len() + entry.bytes()).sum()
    }
}

impl Entry {
    fn fresh(&self, freshness: Freshness, now: Instant) -> Option<(Outcome, Duration)> {
        match freshness {
            Freshness::MaxAge(wanted) => {
                let (response, since, lifetime) = self.kept.as_ref()?;
                let age = now.saturating_duration_since(*since);
                let is_fresh = age <= lifetime.map_or(wanted, |lifetime| lifetime.min(wanted));
                is_fresh.then(|| (Ok(Arc::clone(response)), age))
            }
            Freshness::Refresh => {
                let (outcome, since) = self.asked.as_ref()?;
                let age = now.saturating_duration_since(*since);
                (age < REFRESH_INTERVAL).then(|| (outcome.clone(), age))
            }
        }
    }

    /// Where a call that is asking will tell. A sender that is gone without an outcome has been dropped: its call was
    /// cancelled.
    fn asking(&self) -> Option<&watch::Receiver<Option<Outcome>>> {
        self.asking.as_ref().filter(|asking| asking.has_changed().is_ok())
    }

    fn bytes(&self) -> usize {
        let kept = self.kept.as_ref().map(|(response, ..)| response);
        let asked = self.asked.as_ref().and_then(|(outcome, _)| outcome.as_ref().ok());
        let other = asked.filter(|asked| kept.is_none_or(|kept| !Arc::ptr_eq(kept, asked)));
        kept.into_iter().chain(other).map(|response| size(response)).sum()
    }
}

fn size(response: &ExchangeResponse) -> usize {
    response.body.len() + response.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// How long the server lets its answer be used; none if it does not say. What it wants to be asked about each time, or
/// kept for one client alone, is not used again.
///
/// Source: RFC 9111, section 5.2.2.
fn lifetime(headers: &[(String, String)]) -> Option<Duration> {
    let values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    let directives =
        values.flat_map(|(_, value)| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    directives
        .filter_map(|directive| match directive.split_once('=') {
            Some(("max-age" | "s-maxage", seconds)) => {
                Some(Duration::from_secs(seconds.trim_matches('"').parse::<u32>().map_or(0, u64::from)))
            }
            // With field names behind it, `private` is about those fields; to keep nothing is on the safe side.
            Some(("no-cache" | "private", _)) => Some(Duration::ZERO),
            Some(_) => None,
            None => matches!(directive.as_str(), "no-store" | "no-cache" | "private").then_some(Duration::ZERO),
        })
        .min()
}

#[cfg(test)]
mod tests;
