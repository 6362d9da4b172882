//! `audit`: what the client does with the record of who did what.

use super::api::Api;
use super::console::Console;
use super::error::CliError;
use super::escape;
use crate::api::wire::audit::{AuditPageView, AuditRecordView};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};

/// Records of one page that is asked for.
const PAGE: usize = 500;

/// `omnivisor audit`
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Show the newest records
    #[command(
        after_help = "`*` stands for any characters in --who, --what and --target, so quote it.\n\nExamples:\n  omnivisor audit list\n  \
        omnivisor audit list --what 'process.*' --target 'web-1/*' --since 2026-01-31T00:00:00Z\n  omnivisor audit list --outcome refused -n 20"
    )]
    List {
        /// Which records.
        #[command(flatten)]
        filter: FilterArgs,
        /// How many, 1 to 100000
        #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
    },
    /// Print all records, oldest first, for other programs
    #[command(
        after_help = "Example:\n  omnivisor audit export --format csv --since 2026-01-01T00:00:00Z > january.csv"
    )]
    Export {
        /// Which records.
        #[command(flatten)]
        filter: FilterArgs,
        /// How they are written
        #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
        format: ExportFormat,
    },
    /// Go through all records and say whether each is what was written
    #[command(
        after_help = "Note the `head` elsewhere now and then: who can write the database can also make a new chain, and only such a note tells.\n\n\
        Examples:\n  omnivisor audit verify\n  omnivisor audit verify --noted \"$(cat /mnt/usb/head)\""
    )]
    Verify {
        /// A head from earlier, NUMBER:LINK
        #[arg(long, value_name = "HEAD")]
        noted: Option<String>,
    },
}

/// Which records of the audit.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Who did it
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// What was done, e.g. 'process.*'
    #[arg(long, value_name = "ACTION")]
    pub what: Option<String>,
    /// On what, e.g. 'web-1/*'
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// How it ended: intended, done, refused, failed or unknown
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// By which request
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// At that time or later, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before that time, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

impl FilterArgs {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("who", &self.who),
            ("what", &self.what),
            ("target", &self.target),
            ("outcome", &self.outcome),
            ("request_id", &self.request_id),
            ("since", &self.since),
            ("until", &self.until),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON document a line
    Jsonl,
    /// For spreadsheets
    Csv,
}

pub(crate) async fn run(api: &Api, console: &mut Console, command: &AuditCommand) -> Result<(), CliError> {
    match command {
        AuditCommand::List { filter, count } => list(api, console, filter, *count).await,
        AuditCommand::Export { filter, format } => {
            let mut pairs = filter.pairs();
            let name = if *format == ExportFormat::Csv { "csv" } else { "jsonl" };
            pairs.push(("format", name.to_owned()));
            let mut download = api.download(&["audit", "export"], &pairs).await?;
            while let Some(piece) = download.next().await? {
                console.bytes(&piece)?;
            }
            Ok(())
        }
        AuditCommand::Verify { noted } => verify(api, console, noted.as_deref()).await,
    }
}

async fn list(api: &Api, console: &mut Console, filter: &FilterArgs, count: u32) -> Result<(), CliError> {
    let count = usize::try_from(count).unwrap_or(PAGE);
    let (mut items, mut next) = (Vec::new(), None);
    loop {
        let mut pairs = filter.pairs();
        pairs.push(("limit", (count - items.len()).min(PAGE).to_string()));
        pairs.extend(next.take().map(|next| ("cursor", next)));
        let page: AuditPageView = api.audit(&pairs).await?;
        items.extend(page.items);
        next = page.next;
        if next.is_none() || items.len() >= count {
            break;
        }
    }
    if console.is_json {
        return console.json(&AuditPageView { items, next });
    }
    if items.is_empty() {
        return console.line("no such records");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["AT", "WHO", "WHAT", "TARGET", "OUTCOME", "REASON", "FROM"]);
    table.force_no_tty();
    for record in &items {
        table.add_row(cells(record));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if at == 0 { (0, 1) } else { (1, 1) });
    }
    console.line(&table.trim_fmt())?;
    if next.is_some() {
        console.remark(&format!("there are more than these {count}; -n shows more, `omnivisor audit export` all"));
    }
    Ok(())
}

fn cells(record: &AuditRecordView) -> [String; 7] {
    let record = record.clone();
    let address = record.address.unwrap_or_default();
    [record.at, record.who, record.what, record.target, record.outcome, record.reason, address]
        .map(|text| escape::line(&text).into_owned())
}

async fn verify(api: &Api, console: &mut Console, noted: Option<&str>) -> Result<(), CliError> {
    let pairs: Vec<_> = noted.map(|noted| ("noted", noted.to_owned())).into_iter().collect();
    let verdict = api.verify_audit(&pairs).await?;
    if console.is_json {
        console.json(&verdict)?;
    } else {
        let removed =
            if verdict.removed == 0 { String::new() } else { format!(", {} older ones have ended", verdict.removed) };
        let said = verdict
            .fault
            .as_ref()
            .map_or_else(|| "every one is what was written".to_owned(), |fault| format!("NOT WHOLE: {fault}"));
        console.line(&escape::line(&format!("{} records{removed}: {said}", verdict.records)))?;
        console.line(&escape::line(&format!("head {}", verdict.head)))?;
    }
    if verdict.intact { Ok(()) } else { Err(CliError::SomeFailed { failed: 1, total: 1 }) }
}
