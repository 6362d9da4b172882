use crate::plugin::ExchangeFailure;
use std::error::Error;
use std::io;

/// Why there is no answer. Texts show nothing of the request: its URL or headers may hold credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the host has {limit} requests of plugins under way, which is all that are allowed; try again later")]
    Busy { limit: usize },
    #[error("no answer in time")]
    TimedOut,
    #[error("no connection in time")]
    ConnectTimedOut,
    #[error("no connection: {0}")]
    Connect(io::ErrorKind),
    #[error("no connection: the name does not resolve, or nothing there takes it")]
    NoConnection,
    #[error("no proper certificate: {0}; a private authority has to be in the list that `SSL_CERT_FILE` names")]
    Certificate(rustls::Error),
    #[error("this machine has no list of certificate authorities; install it, or name one with `SSL_CERT_FILE`")]
    NoAuthorities(#[source] io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
    #[error("the connection broke")]
    Broken,
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("not proper HTTP: {0}")]
    Protocol(String),
    #[error("the request cannot be sent: {0}")]
    Request(http::Error),
    #[error("the host could not prepare a connection")]
    Host,
}

impl FetchError {
    /// What a connector's error says, as far as it is safe to tell.
    pub(super) fn of_connect(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Self::Certificate(error.clone());
            }
            cause = match error.downcast_ref::<io::Error>() {
                // An io::Error does not count what it wraps among its sources.
                Some(error) => match error.get_ref() {
                    Some(inner) => Some(inner),
                    None => return Self::Connect(error.kind()),
                },
                None => error.source(),
            };
        }
        Self::NoConnection
    }

    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            Self::Protocol(error.to_string())
        } else {
            Self::Broken
        }
    }
}

impl From<FetchError> for ExchangeFailure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::TimedOut => Self::TimedOut,
            FetchError::TooLarge { limit } => Self::TooLarge { limit },
            FetchError::Request(_) => Self::Refused(error.to_string()),
            FetchError::Protocol(_) => Self::Protocol(error.to_string()),
            FetchError::Busy { .. }
            | FetchError::ConnectTimedOut
            | FetchError::Connect(_)
            | FetchError::NoConnection
            | FetchError::Certificate(_)
            | FetchError::NoAuthorities(_)
            | FetchError::Tls(_)
            | FetchError::Broken
            | FetchError::Host => Self::Unreachable(error.to_string()),
        }
    }
}
