//! The places where requests come in, as the configuration names them.

use crate::api::serve::{ListenError, Listener};
use crate::config::{Config, ListenConfig, ListenPlace};

/// Opens them all, or none.
///
/// # Errors
/// That of the first that cannot be opened.
pub(super) async fn open(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let first = config.server.listen.map(|address| ListenConfig { place: ListenPlace::Tcp(address), tls: None });
    let mut listeners = Vec::new();
    for place in first.iter().chain(&config.listen) {
        listeners.push(Listener::open(place).await?);
    }
    Ok(listeners)
}

/// Passwords and tokens are in what crosses the network there. The operator should know before.
pub(super) fn warn_of_the_clear(config: &Config, listeners: &[Listener]) {
    if !config.server.trusted_proxies.is_empty() {
        return;
    }
    for listener in listeners.iter().filter(|listener| listener.is_in_the_clear()) {
        tracing::warn!(
            place = listener.url(),
            "passwords and tokens cross the network there as anyone on the way can read them: give the address to a \
             [[listen]] with `certificate_file` and `key_file`, or listen on loopback, or name the proxy that speaks TLS \
             in `trusted_proxies` of [server]"
        );
    }
}

/// How a client on this machine names the first of them.
pub(super) fn url(listeners: &[Listener]) -> String {
    listeners.first().map_or_else(|| "URL".to_owned(), Listener::url)
}
