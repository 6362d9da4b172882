use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::record::carry_out;
use crate::api::input::Input;
use crate::api::wire::Problem;
use crate::auth::Action;
use crate::task::Place;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::Uri;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// Copies that are made or sent at once.
pub const BACKUPS_MAX: usize = 1;
/// What the audit and validators call it.
const WHAT: &str = "backup.create";
const PIECE_BYTES: usize = 64 << 10;
/// RFC 9530.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const BACKUP_AUDIT: HeaderName = HeaderName::from_static("x-backup-audit");

/// A copy of the database
///
/// It holds all that was acknowledged before the request came, and was opened and gone through before the answer begins. It
/// holds the hashes of passwords and keys: keep it as you keep the database. `content-digest` is that of the file;
/// `x-backup-audit` is the last record of its audit, `NUMBER:LINK`.
#[utoipa::path(get, path = "/api/v1/backup", tag = "backup",
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<Response, ApiError> {
    edge.admit_deed((&caller, &facts), Action::BackupCreate, (WHAT, ""), Input::new(&uri).finish()?).await?;
    let place = edge.backups.try_take().ok_or(ApiError::BackupUnderWay)?;
    // The work has the place: when the caller leaves, nobody else begins before this one has ended and let go of the
    // file's name.
    let making = {
        let edge = Arc::clone(&edge);
        async move { Ok((make(&edge).await?, place)) }
    };
    let (made, place) = carry_out(&edge, (caller, facts), (WHAT, String::new()), making).await?;
    let Made { file, bytes, digest, head } = made;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, "attachment; filename=\"omnivisor-backup.redb\"".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
        (CONTENT_DIGEST, format!("sha-256=:{digest}:")),
        (BACKUP_AUDIT, head),
    ];
    Ok((headers, body(file, place)).into_response())
}

/// A copy on the disk that has no name any more: it goes when it was sent, whatever becomes of us.
struct Made {
    file: File,
    bytes: u64,
    digest: String,
    head: String,
}

async fn make(edge: &Edge) -> Result<Made, ApiError> {
    let path = temporary(&edge.snapshot().config.storage.path);
    // One that a kill has left behind; only one is made at a time, and the database has one server.
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(broken(&error)),
        _ => {}
    }
    let facts = edge.store.back_up(path.clone()).await?;
    if let Some(fault) = facts.audit.fault {
        // The copy is a faithful one; who needs it decides.
        tracing::error!(%fault, "the audit is not what was written; the copy that was asked for is as the database is");
    }
    let opened = tokio::task::spawn_blocking(move || open(&path)).await;
    let opened = opened.map_err(|error| ApiError::Internal { what: error.to_string() })?;
    let (file, bytes, digest) = opened.map_err(|error| broken(&error))?;
    Ok(Made { file, bytes, digest, head: facts.audit.head.to_string() })
}

fn temporary(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".backup");
    database.with_file_name(name)
}

fn open(path: &Path) -> io::Result<(File, u64, String)> {
    let mut file = File::open(path)?;
    std::fs::remove_file(path)?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        hash.update(piece.get(..count).unwrap_or_default());
    }
    file.rewind()?;
    Ok((file, bytes, STANDARD.encode(hash.finalize())))
}

/// The file piece by piece. The place is held until the last one is read, or nobody reads on.
fn body(file: File, place: Place) -> Body {
    let file = tokio::fs::File::from_std(file);
    Body::from_stream(stream::try_unfold((file, place), async |(mut file, place)| -> io::Result<_> {
        let mut piece = vec![0; PIECE_BYTES];
        let count = file.read(&mut piece).await?;
        piece.truncate(count);
        Ok((count > 0).then(|| (Bytes::from(piece), (file, place))))
    }))
}

fn broken(error: &io::Error) -> ApiError {
    ApiError::Internal { what: format!("the copy of the database cannot be read: {error}") }
}
