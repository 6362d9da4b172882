//! `status`: one look at nodes and processes.

use super::api::Api;
use super::args::StatusArgs;
use super::console::Console;
use super::error::CliError;
use super::rows::{self, HEADER, Row};
use super::selector::Selector;
use crate::api::wire::{NodeList, NodeView, ProcessView};
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;

pub(crate) async fn run(api: &Api, console: &mut Console, args: &StatusArgs) -> Result<(), CliError> {
    let selectors = Selector::parse_all(&args.selectors)?;
    let (list, clock) = api.nodes().await?;
    let chosen = choose(list, &selectors)?;
    if console.is_json {
        return console.json(&chosen);
    }
    if chosen.items.is_empty() {
        return console.line("no nodes; add [[node]] sections to the server's configuration");
    }
    let table = table(&table_rows(&chosen, clock.now()), console.is_colored, console.is_terminal);
    console.line(&table)
}

/// What the selectors cover: nodes, each with those of its processes that are meant. Without selectors, everything.
///
/// # Errors
/// [`CliError::NoMatch`] for the first selector that covers nothing.
fn choose(mut list: NodeList, selectors: &[Selector]) -> Result<NodeList, CliError> {
    if selectors.is_empty() {
        return Ok(list);
    }
    for selector in selectors {
        let is_met = list.items.iter().any(|node| covers_anything(selector, node));
        if !is_met {
            return Err(no_match(selector, &list));
        }
    }
    list.items.retain(|node| selectors.iter().any(|selector| covers_anything(selector, node)));
    for node in &mut list.items {
        let name = node.name.clone();
        if let Some(processes) = &mut node.processes {
            processes.retain(|process| selectors.iter().any(|s| s.covers(&name, &process.group, &process.name)));
        }
    }
    Ok(list)
}

fn covers_anything(selector: &Selector, node: &NodeView) -> bool {
    let is_met = |process: &ProcessView| selector.covers(&node.name, &process.group, &process.name);
    selector.covers_node(&node.name) && (selector.is_node() || processes(node).iter().any(is_met))
}

/// The processes that came with a node.
pub(crate) fn processes(node: &NodeView) -> &[ProcessView] {
    node.processes.as_deref().unwrap_or_default()
}

/// The error for a selector that covers nothing, with what is likely the reason.
pub(crate) fn no_match(selector: &Selector, list: &NodeList) -> CliError {
    let unseen = list.items.iter().find(|node| selector.covers_node(&node.name) && node.observed_at.is_none());
    let hint = match unseen {
        Some(node) => {
            let reason = node.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("the processes of {} are not known yet, it is {}{reason}", node.name, node.state)
        }
        None => "see what is there: omnivisor status".to_owned(),
    };
    CliError::NoMatch { selector: selector.to_string(), hint }
}

fn table_rows(list: &NodeList, now: Timestamp) -> Vec<Row> {
    let mut lines = Vec::new();
    for node in &list.items {
        let (running, count) = (node.running_count.unwrap_or_default(), node.process_count.unwrap_or_default());
        lines.push(rows::node(node, running, count, now));
        let is_old = !rows::is_live(node);
        lines.extend(processes(node).iter().map(|process| rows::process(&node.name, is_old, process, now)));
    }
    lines
}

fn table(lines: &[Row], is_colored: bool, is_terminal: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER.map(|name| strong(Cell::new(name), is_colored)));
    if is_colored {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if is_terminal {
        // The last column gives way on a narrow screen; addresses stay whole, so that they can be copied.
        table.set_content_arrangement(ContentArrangement::Dynamic);
        let whole = ColumnConstraint::ContentWidth;
        table.set_constraints([whole, whole, whole, whole, ColumnConstraint::LowerBoundary(Width::Fixed(20))]);
        if let Ok((width, _)) = ratatui::crossterm::terminal::size() {
            table.set_width(width);
        }
    }
    for row in lines {
        let address = Cell::new(&row.address);
        let address = if row.is_node { strong(address, is_colored) } else { address };
        let state = row.tone.cell(Cell::new(&row.state), is_colored);
        table.add_row([address, state, Cell::new(&row.pid), Cell::new(&row.uptime), Cell::new(&row.detail)]);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        // No indent on the left: the first column starts where the line does.
        column.set_padding(if at == 0 { (0, 1) } else { (1, 1) });
    }
    table.trim_fmt()
}

fn strong(cell: Cell, is_colored: bool) -> Cell {
    if is_colored { cell.add_attribute(Attribute::Bold) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rows::samples;

    fn list() -> NodeList {
        let mut web = samples::node("web-1");
        web.processes = Some(vec![samples::process("app:a", "running"), samples::process("app:b", "fatal")]);
        (web.process_count, web.running_count) = (Some(2), Some(1));
        let mut db = samples::node("db-1");
        (db.state, db.observed_at) = ("connecting".into(), None);
        db.processes = Some(vec![]);
        NodeList { items: vec![db, web], next: None }
    }

    fn chosen(texts: &[&str]) -> Result<Vec<String>, CliError> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let list = choose(list(), &Selector::parse_all(&texts)?)?;
        let rows = table_rows(&list, "2026-01-01T00:01:30Z".parse().expect("a time"));
        Ok(rows.into_iter().map(|row| row.address).collect())
    }

    #[test]
    fn selectors_choose_nodes_and_processes() {
        assert_eq!(chosen(&[]).expect("all"), ["db-1", "web-1", "web-1/app:a", "web-1/app:b"]);
        assert_eq!(chosen(&["web-*/*:b"]).expect("one"), ["web-1", "web-1/app:b"]);
        assert_eq!(chosen(&["db-*", "web-1/app:a"]).expect("both"), ["db-1", "web-1", "web-1/app:a"]);
    }

    #[test]
    fn a_selector_without_a_match_is_named() {
        let error = chosen(&["web-1", "web-9"]).expect_err("no such node");
        assert_eq!((error.to_string().as_str(), error.exit_code()), ("`web-9` matches nothing", 66));
        let CliError::NoMatch { hint, .. } = chosen(&["db-1/app:*"]).expect_err("nothing there yet") else {
            panic!("it matches nothing")
        };
        assert!(hint.contains("not known yet, it is connecting"), "{hint}");
    }

    #[test]
    fn the_table_is_aligned_and_plain_without_colours() {
        let rows = table_rows(&list(), "2026-01-01T00:01:30Z".parse().expect("a time"));
        let text = table(&rows, false, false);
        let expected = "\
NODE / PROCESS  STATE       PID  UPTIME  DETAIL
db-1            connecting               for 1m 30s, never seen, supervisord 4.3.0
web-1           live                     1 of 2 running, supervisord 4.3.0
web-1/app:a     running     77   1m 30s
web-1/app:b     fatal";
        assert_eq!(text, expected);
        assert!(table(&rows, true, false).contains("\x1b["), "colours when they are wanted");
    }
}
