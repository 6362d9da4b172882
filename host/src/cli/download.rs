//! An answer that is read piece by piece, however long it is.

use super::error::CliError;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;

/// What the next piece may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

/// The rest of an answer that was a success.
pub(crate) struct Download {
    pub(super) server: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
}

impl Download {
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`CliError::Broken`] when the connection ended before the answer did, [`CliError::TimedOut`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            let frame = tokio::time::timeout(PIECE_TIMEOUT, self.body.frame()).await;
            let frame = frame.map_err(|_| CliError::TimedOut { server: self.server.clone(), limit: PIECE_TIMEOUT })?;
            match frame {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(CliError::Broken { server: self.server.clone(), source: source.into() });
                }
                // Trailers hold nothing for us.
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}
