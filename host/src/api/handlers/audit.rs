use crate::api::edge::{Caller, Edge, Facts};
use crate::api::error::ApiError;
use crate::api::input::Input;
use crate::api::view;
use crate::api::wire::Problem;
use crate::api::wire::audit::{AuditPageView, AuditVerdictView};
use crate::auth::Action;
use crate::model::Glob;
use crate::store::{
    AUDIT_PAGE_MAX, AuditCursor, AuditEntry, AuditFilter, AuditMark, AuditOrder, AuditOutcome, AuditQuery, Store,
};
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::Uri;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use std::sync::Arc;
use std::time::SystemTime;

const PAGE_DEFAULT: u64 = 100;
const FILTER_BYTES_MAX: usize = 1_024;

/// The audit
///
/// Newest first, page by page. `who`, `what` and `target` may hold `*` for any run of characters.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit",
    params(("who" = Option<String>, Query, description = "Who did it"),
        ("what" = Option<String>, Query, description = "What was done, e.g. `process.*`"),
        ("target" = Option<String>, Query, description = "On what, e.g. `web-1/*`"),
        ("outcome" = Option<String>, Query, description = "`intended`, `done`, `refused`, `failed` or `unknown`"),
        ("request_id" = Option<String>, Query, description = "By which request"),
        ("since" = Option<String>, Query, description = "At that time or later, RFC 3339"),
        ("until" = Option<String>, Query, description = "Before that time, RFC 3339"),
        ("limit" = Option<u64>, Query, description = "Records of a page; 100 unless given", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before", pattern = "^[0-9a-f]{32}$")),
    responses((status = 200, body = AuditPageView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<AuditPageView>, ApiError> {
    let mut input = Input::new(&uri);
    let filter = filter(&mut input);
    let limit = input.number("limit", 1..=AUDIT_PAGE_MAX as u64).unwrap_or(PAGE_DEFAULT);
    let cursor = parsed(&mut input, "cursor", "the `next` of an earlier page was expected", |text| text.parse().ok());
    edge.admit(&caller, Action::AuditRead, "audit.list", input.finish()?).await?;
    let limit = usize::try_from(limit).unwrap_or(AUDIT_PAGE_MAX);
    let page = edge.store.audit(AuditQuery { filter, order: AuditOrder::NewestFirst, cursor, limit }).await?;
    let items = page.entries.iter().map(view::audit_record).collect();
    Ok(Json(AuditPageView { items, next: page.next.map(|next| next.to_string()) }))
}

/// The audit as a file
///
/// Oldest first, as JSON lines or CSV, all that was there when the request came. An answer that ends before its time is not
/// ended properly. In CSV a text that a spreadsheet would take for a formula has a `'` before it.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "audit",
    params(("format" = Option<String>, Query, description = "`jsonl` (the default) or `csv`"),
        ("who" = Option<String>, Query, description = "As for the list"), ("what" = Option<String>, Query, description = "As for the list"),
        ("target" = Option<String>, Query, description = "As for the list"), ("outcome" = Option<String>, Query, description = "As for the list"),
        ("request_id" = Option<String>, Query, description = "As for the list"),
        ("since" = Option<String>, Query, description = "As for the list"), ("until" = Option<String>, Query, description = "As for the list")),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn export(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Extension(facts): Extension<Facts>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut input = Input::new(&uri);
    let filter = filter(&mut input);
    let format = parsed(&mut input, "format", "`jsonl` or `csv` was expected", Format::parse).unwrap_or(Format::Lines);
    edge.admit(&caller, Action::AuditRead, "audit.read", input.finish()?).await?;
    // Who takes the records away is on record himself.
    edge.record(&caller, &facts, "audit.export", format.name(), AuditOutcome::Done, "").await?;
    let newest = edge.store.recent_audit(1).await?.first().map_or(0, |entry| entry.number);
    let query = AuditQuery { filter, order: AuditOrder::OldestFirst, cursor: None, limit: AUDIT_PAGE_MAX };
    let export = Export { store: edge.store.clone(), format, newest, query: Some(query), head: format.head() };
    let body = Body::from_stream(stream::try_unfold(export, Export::next));
    let (media_type, disposition) = format.headers();
    Ok(([(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, disposition), (CACHE_CONTROL, "no-store")], body)
        .into_response())
}

/// Goes through the whole audit
///
/// Says whether every record is what was written. With `noted` also whether that record is still the one noted.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit",
    params(("noted" = Option<String>, Query, description = "A `head` from earlier, `NUMBER:LINK`")),
    responses((status = 200, body = AuditVerdictView), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(in crate::api) async fn verify(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<AuditVerdictView>, ApiError> {
    let mut input = Input::new(&uri);
    let noted: Option<AuditMark> =
        parsed(&mut input, "noted", "a `head` from earlier was expected, NUMBER:LINK", |text| text.parse().ok());
    edge.admit(&caller, Action::AuditRead, "audit.read", input.finish()?).await?;
    Ok(Json(view::audit_verdict(&edge.store.verify_audit(noted).await?)))
}

fn filter(input: &mut Input) -> AuditFilter {
    let mut glob = |name: &str| {
        let advice = "at most 1,024 bytes were expected";
        parsed(input, name, advice, |text| (text.len() <= FILTER_BYTES_MAX).then(|| Glob::new(text)))
    };
    let (who, what, target) = (glob("who"), glob("what"), glob("target"));
    let request_id = input.text("request_id");
    let mut time = |name: &str| {
        parsed(input, name, "a time was expected, e.g. 2026-01-31T12:00:00Z", |text| {
            text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
        })
    };
    let (since, until) = (time("since"), time("until"));
    let advice = "one of intended, done, refused, failed, unknown was expected";
    let outcome = parsed(input, "outcome", advice, AuditOutcome::parse);
    AuditFilter { who, what, target, outcome, request_id, since, until }
}

/// A parameter that has to be readable.
fn parsed<T>(input: &mut Input, name: &str, advice: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = input.text(name)?;
    let value = parse(&text);
    if value.is_none() {
        input.problem(&format!("/query/{name}"), "invalid", advice.to_owned());
    }
    value
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Csv,
}

impl Format {
    fn parse(word: &str) -> Option<Self> {
        [Self::Lines, Self::Csv].into_iter().find(|format| format.name() == word)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Lines => "jsonl",
            Self::Csv => "csv",
        }
    }

    const fn headers(self) -> (&'static str, &'static str) {
        match self {
            Self::Lines => ("application/x-ndjson", "attachment; filename=\"audit.jsonl\""),
            Self::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"audit.csv\""),
        }
    }

    const fn head(self) -> &'static str {
        match self {
            Self::Lines => "",
            Self::Csv => "number,at,who,what,target,outcome,reason,request_id,address,link\r\n",
        }
    }

    fn write(self, entries: &[AuditEntry]) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Lines => {
                for entry in entries {
                    serde_json::to_writer(&mut bytes, &view::audit_record(entry))?;
                    bytes.push(b'\n');
                }
            }
            Self::Csv => {
                let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut bytes);
                for entry in entries {
                    csv.write_record(cells(entry))?;
                }
                csv.flush()?;
            }
        }
        Ok(bytes)
    }
}

fn cells(entry: &AuditEntry) -> [String; 10] {
    let view = view::audit_record(entry);
    let address = view.address.unwrap_or_default();
    [
        view.number.to_string(),
        view.at,
        plain(view.who),
        plain(view.what),
        plain(view.target),
        view.outcome,
        plain(view.reason),
        plain(view.request_id),
        address,
        view.link,
    ]
}

/// Keeps a spreadsheet from taking a text for a formula (OWASP, CSV injection).
fn plain(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

/// An export under way: a page is read when the one before is on its way, and nothing is held in between.
struct Export {
    store: Store,
    format: Format,
    /// What comes later is not of it: reading it would never end.
    newest: u64,
    /// The next page; none after the last.
    query: Option<AuditQuery>,
    head: &'static str,
}

impl Export {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ApiError> {
        while let Some(query) = self.query.take() {
            let page = self.store.audit(query.clone()).await?;
            let is_done = page.entries.last().is_some_and(|entry| entry.number >= self.newest);
            let next = |cursor: AuditCursor| AuditQuery { cursor: Some(cursor), ..query };
            self.query = page.next.filter(|_| !is_done).map(next);
            let count = page.entries.iter().take_while(|entry| entry.number <= self.newest).count();
            let written = self.format.write(page.entries.get(..count).unwrap_or_default());
            let written =
                written.map_err(|error| ApiError::Internal { what: format!("a record was not written: {error}") })?;
            let bytes = [std::mem::take(&mut self.head).as_bytes(), &written].concat();
            if !bytes.is_empty() {
                return Ok(Some((bytes.into(), self)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AuditLink, AuditRecord};

    fn entry(who: &str, reason: &str) -> AuditEntry {
        let record = AuditRecord {
            at: SystemTime::UNIX_EPOCH,
            who: who.into(),
            what: "process.stop".into(),
            target: "a,b/\"c\":d".into(),
            outcome: AuditOutcome::Done,
            reason: reason.into(),
            request_id: "r".into(),
            address: Some([127, 0, 0, 1].into()),
        };
        AuditEntry { number: 7, link: AuditLink::ORIGIN, record }
    }

    #[test]
    fn p22_csv_is_read_back_whole_and_holds_no_formula() {
        let bytes = Format::Csv.write(&[entry("=cmd()", "two\r\nlines"), entry("ann", "-1")]).expect("written");
        let whole = [Format::Csv.head().as_bytes(), &bytes].concat();
        let mut reader = csv::Reader::from_reader(whole.as_slice());
        assert_eq!(reader.headers().expect("a head").len(), 10);
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("csv");
        let cell = |row: usize, column: usize| rows[row].get(column).expect("a cell").to_owned();
        assert_eq!((cell(0, 2), cell(0, 6)), ("'=cmd()".to_owned(), "two\r\nlines".to_owned()));
        assert_eq!((cell(1, 2), cell(1, 6)), ("ann".to_owned(), "'-1".to_owned()));
        assert_eq!((cell(0, 4), cell(0, 8)), ("a,b/\"c\":d".to_owned(), "127.0.0.1".to_owned()));
    }

    #[test]
    fn json_lines_are_one_document_each_and_unchanged() {
        let bytes = Format::Lines.write(&[entry("=cmd()", "two\r\nlines"), entry("ann", "")]).expect("written");
        let lines: Vec<serde_json::Value> = String::from_utf8(bytes)
            .expect("text")
            .lines()
            .map(|line| serde_json::from_str(line).expect("json"))
            .collect();
        assert_eq!((lines.len(), &lines[0]["who"], &lines[0]["reason"]), (2, &"=cmd()".into(), &"two\r\nlines".into()));
    }
}
