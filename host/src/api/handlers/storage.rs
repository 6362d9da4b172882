use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::handlers::record::carry_out;
use crate::api::input::Input;
use crate::api::wire::Problem;
use crate::api::wire::storage::CompactionView;
use crate::auth::Action;
use axum::Json;
use axum::extract::{Extension, State};
use http::Uri;
use std::sync::Arc;

/// What the audit and validators call it.
const WHAT: &str = "storage.compact";

/// Compacts the database
///
/// What is in use is written into a new file, which takes the place of the one that is there; it needs room for both
/// meanwhile. Reads go on, writes wait until it is done. The server does it by itself when more than half of a larger file
/// is free, unless so much is in use that writes would wait for long.
#[utoipa::path(post, path = "/api/v1/storage/compact", tag = "backup",
    responses((status = 200, body = CompactionView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn compact(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<Json<CompactionView>, ApiError> {
    edge.admit_deed((&caller, &facts), Action::StorageManage, (WHAT, ""), Input::new(&uri).finish()?).await?;
    let compacting = {
        let store = edge.store.clone();
        async move { Ok(store.compact().await?) }
    };
    let compacted = carry_out(&edge, (caller, facts), (WHAT, String::new()), compacting).await?;
    Ok(Json(CompactionView {
        before_bytes: compacted.before_bytes,
        after_bytes: compacted.after_bytes,
        took_ms: u64::try_from(compacted.took.as_millis()).unwrap_or(u64::MAX),
    }))
}
