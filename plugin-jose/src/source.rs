use crate::{KeySet, web};
use plugin_sdk::{CacheMode, Fault, Http};

/// Where an issuer's keys come from.
pub trait KeySource {
    /// The keys, as new as they need to be.
    ///
    /// # Errors
    /// A [`Fault`] when there is no telling.
    fn keys(&mut self) -> Result<KeySet, Fault>;

    /// Newer keys than those of before, because a token names one that was not among them. None if there cannot be any.
    ///
    /// # Errors
    /// A [`Fault`] when there is no telling.
    fn newer_keys(&mut self) -> Result<Option<KeySet>, Fault>;
}

/// Keys that do not change.
pub struct FixedKeys {
    keys: Option<KeySet>,
}

impl FixedKeys {
    /// These.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self { keys: Some(keys) }
    }
}

impl KeySource for FixedKeys {
    fn keys(&mut self) -> Result<KeySet, Fault> {
        Ok(self.keys.take().unwrap_or_default())
    }

    fn newer_keys(&mut self) -> Result<Option<KeySet>, Fault> {
        Ok(None)
    }
}

/// A key set that the issuer publishes: kept for five minutes, and asked for anew when a token names a key that is not
/// in it, since issuers change their keys. The host answers that at most every ten seconds, so that tokens with made-up
/// ids do not become the issuer's load.
pub struct PublishedKeys<'h> {
    http: &'h mut dyn Http,
    url: &'h str,
    is_new: bool,
}

/// How old a key set may be, in seconds.
const AGE_MAX_S: u32 = 300;

impl<'h> PublishedKeys<'h> {
    /// The set at that address.
    pub fn new(http: &'h mut dyn Http, url: &'h str) -> Self {
        Self { http, url, is_new: false }
    }

    fn fetch(&mut self, cache: CacheMode) -> Result<KeySet, Fault> {
        let response = web::get(self.http, "the issuer's key set", self.url, cache)?;
        self.is_new = response.age_s == 0;
        KeySet::from_json(&response.body).map_err(|error| {
            let message = format!("the issuer's key set is of no use: {}", error.problem());
            Fault::plugin(web::BAD_REPLY, message).with("url", self.url)
        })
    }
}

impl KeySource for PublishedKeys<'_> {
    fn keys(&mut self) -> Result<KeySet, Fault> {
        self.fetch(CacheMode::MaxAge(AGE_MAX_S))
    }

    fn newer_keys(&mut self) -> Result<Option<KeySet>, Fault> {
        if self.is_new {
            return Ok(None);
        }
        self.fetch(CacheMode::Refresh).map(Some)
    }
}
