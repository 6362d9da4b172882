use super::screen::{Connection, Line, Mark, Screen, Told};
use crate::cli::paint::Tone;
use crate::cli::rows::HEADER;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use tokio::time::Instant;

/// Lines of the story with its title, where there is room for them.
const STORY_LINES: u16 = 8;
/// A screen lower than this shows no story.
const STORY_SCREEN_MIN: u16 = 18;

/// Draws the whole screen. Also brings the scroll position back to where there is something to see.
pub(crate) fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let story = if frame.area().height >= STORY_SCREEN_MIN { STORY_LINES } else { 0 };
    let parts = [Constraint::Length(1), Constraint::Min(2), Constraint::Length(story), Constraint::Length(1)];
    let [top, middle, below, bottom] = Layout::vertical(parts).areas(frame.area());
    let lines = screen.lines(screen.now());
    screen.page = usize::from(middle.height.saturating_sub(1)).max(1);
    screen.scroll = screen.scroll.min(lines.len().saturating_sub(screen.page));
    frame.render_widget(title(screen), top);
    table(frame, middle, screen, &lines);
    if story > 0 {
        tell(frame, below, screen);
    }
    frame.render_widget(footer(screen, lines.len()), bottom);
}

fn title(screen: &Screen) -> Paragraph<'_> {
    let (tone, words) = match &screen.connection {
        Connection::Live => (Tone::Good, "● live".to_owned()),
        Connection::Reading => (Tone::Busy, "○ reading".to_owned()),
        Connection::Lost { reason, until } => {
            let wait = until.saturating_duration_since(Instant::now());
            (Tone::Bad, format!("✕ lost, trying again in {} s: {reason}", wait.as_secs_f64().ceil()))
        }
    };
    let (nodes, running, count) = screen.totals();
    let plural = if nodes == 1 { "" } else { "s" };
    Paragraph::new(Text::from_iter([
        Span::styled(" omnivisor ", Style::new().add_modifier(Modifier::REVERSED)),
        Span::raw(format!(" {}  ", screen.server)),
        Span::styled(format!("{nodes} node{plural}, {running} of {count} running  "), Modifier::BOLD),
        Span::styled(words, tone.style(screen.is_colored)),
    ]))
}

fn table(frame: &mut Frame<'_>, area: Rect, screen: &Screen, lines: &[Line]) {
    if lines.is_empty() {
        let words = match (screen.is_known(), screen.filter.is_empty()) {
            (false, _) => "waiting for the first picture",
            (true, true) => "nothing matches",
            (true, false) => "nothing passes the filter; Esc clears it",
        };
        frame.render_widget(Paragraph::new(format!("\n   {words}")), area);
        return;
    }
    let visible = || lines.iter().skip(screen.scroll).take(screen.page);
    // Widths come from all lines, so that the columns do not jump while scrolling.
    let widest = lines.iter().map(|line| Span::raw(&line.row.address).width()).max().unwrap_or(0);
    let address = u16::try_from(widest).unwrap_or(u16::MAX).max(14).min(area.width / 2);
    let widths = [
        Constraint::Length(1),
        Constraint::Length(address),
        Constraint::Length(14),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let header = Row::new([""].into_iter().chain(HEADER)).style(Modifier::UNDERLINED);
    let rows = visible().map(|line| row(line, screen.is_colored));
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

fn row(line: &Line, is_colored: bool) -> Row<'_> {
    let row = &line.row;
    let state = row.tone.style(is_colored);
    let (mark, state) = match line.mark {
        Mark::Flash => ("•", state.add_modifier(Modifier::REVERSED)),
        Mark::Recent => ("•", state),
        Mark::None if row.is_node && row.is_old => ("!", state),
        Mark::None => ("", state),
    };
    let address = if row.is_node { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let detail = if row.is_node && row.is_old { Tone::Bad.style(is_colored) } else { Style::new() };
    Row::new([
        Cell::new(mark).style(row.tone.style(is_colored)),
        Cell::new(row.address.as_str()).style(address),
        Cell::new(row.state.as_str()).style(state),
        Cell::new(row.pid.as_str()),
        Cell::new(row.uptime.as_str()),
        Cell::new(row.detail.as_str()).style(detail),
    ])
}

fn tell(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let block = Block::new().borders(Borders::TOP).title(" changes ");
    let room = usize::from(area.height.saturating_sub(1));
    let skipped = screen.story.len().saturating_sub(room);
    let said = |told: &Told| {
        Text::from_iter([
            Span::raw(format!(" {}  ", told.at)),
            Span::raw(format!("{}  ", told.address)),
            Span::styled(told.words.clone(), told.tone.style(screen.is_colored)),
        ])
    };
    let lines: Vec<Text<'_>> = match screen.story.is_empty() {
        true => vec![Text::styled(" none yet", Tone::Quiet.style(screen.is_colored))],
        false => screen.story.iter().skip(skipped).map(said).collect(),
    };
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn footer(screen: &Screen, count: usize) -> Paragraph<'_> {
    if screen.is_typing {
        return Paragraph::new(format!(" /{}▏  Enter keeps the filter, Esc clears it", screen.filter));
    }
    let mut words = " q leave   / filter   ↑ ↓ PgUp PgDn scroll".to_owned();
    if !screen.filter.is_empty() {
        words.push_str(&format!("   filter: {} (Esc clears)", screen.filter));
    }
    if count > screen.page {
        let last = (screen.scroll + screen.page).min(count);
        words.push_str(&format!("   lines {} to {last} of {count}", screen.scroll + 1));
    }
    Paragraph::new(words).style(Modifier::DIM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::feed::frame::{Event, Frame as FeedFrame, Item};
    use crate::cli::feed::link::Notice;
    use crate::cli::rows::samples;
    use crate::cli::selector::Selector;
    use crate::cli::watch::screen::Next;
    use crate::cli::watch::terminal::Key;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    fn item(node: &str, process: Option<&str>) -> Item {
        Item {
            topic: String::new(),
            node: node.into(),
            state: process.is_none().then(|| samples::node(node)),
            process: process.map(|id| samples::process(id, "running")),
            kind: None,
            id: None,
        }
    }

    fn frame(screen: &mut Screen, frame: FeedFrame) {
        screen.notice(Notice::Frame(Box::new(frame))).expect("the link goes on");
    }

    fn screen(selectors: &[&str]) -> Screen {
        let selectors = selectors.iter().map(|text| Selector::parse(text).expect("a selector")).collect();
        let mut screen = Screen::new("http://x:80".into(), selectors, false);
        let mut items = vec![item("web-1", None), item("web-2", None)];
        items.extend(["app:a", "app:b"].map(|id| item("web-1", Some(id))));
        frame(&mut screen, FeedFrame::Snap { o: 1, last: true, items });
        screen
    }

    fn stopping(screen: &mut Screen) {
        frame(
            screen,
            FeedFrame::Ev(Box::new(Event {
                o: 2,
                s: 1,
                topic: "proc/web-1/state".into(),
                at: "2026-01-01T12:34:56.789Z".into(),
                kind: "changed".into(),
                node: "web-1".into(),
                state: None,
                process: Some(samples::process("app:b", "stopping")),
                transition: None,
                id: None,
            })),
        );
    }

    fn shown(screen: &mut Screen, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, screen)).expect("drawn");
        terminal.backend().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_marked_told_and_fades() {
        let mut screen = screen(&[]);
        stopping(&mut screen);
        let text = shown(&mut screen, 24);
        assert!(text.contains("2 nodes, 1 of 2 running  ● live"), "{text}");
        assert!(text.contains("•web-1/app:b") || text.contains("• web-1/app:b"), "{text}");
        assert!(text.contains("12:34:56Z  web-1/app:b  running -> stopping"), "{text}");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!shown(&mut screen, 24).contains('•'), "the mark fades");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_stands_in_the_title_and_the_picture_stays() {
        let mut screen = screen(&[]);
        let lost = Notice::Lost { reason: "the server is going away".into(), retry: Duration::from_secs(2) };
        screen.notice(lost).expect("it comes back");
        let text = shown(&mut screen, 24);
        assert!(text.contains("lost, trying again in 2 s: the server is going"), "{text}");
        assert!(text.contains("web-1/app:a"), "{text}");
    }

    #[test]
    fn a_filter_keeps_the_node_above_its_processes_and_escape_clears_it_first() {
        let mut screen = screen(&[]);
        for key in [Key::Char('/'), Key::Char('P'), Key::Char(':'), Key::Char('B'), Key::Enter] {
            assert_eq!(screen.key(key), Next::Stay);
        }
        let text = shown(&mut screen, 12);
        assert!(text.contains("app:b") && text.contains("web-1 ") && !text.contains("app:a"), "{text}");
        assert!(!text.contains("web-2"), "{text}");
        assert_eq!(screen.key(Key::Escape), Next::Stay);
        assert!(shown(&mut screen, 12).contains("app:a"));
        assert_eq!(screen.key(Key::Escape), Next::Leave);
        assert_eq!(screen.key(Key::Char('q')), Next::Leave);
        screen.is_typing = true;
        assert_eq!(screen.key(Key::Char('q')), Next::Stay, "a letter of the filter");
        assert_eq!(screen.key(Key::Interrupt), Next::Leave);
    }

    #[test]
    fn scrolling_stays_where_there_is_something_to_see() {
        let mut screen = screen(&[]);
        // Title, header, two lines, footer.
        let bottom = |screen: &mut Screen| {
            screen.key(Key::End);
            shown(screen, 5)
        };
        let text = bottom(&mut screen);
        assert!(text.contains("lines 3 to 4 of 4") && text.contains("web-2"), "{text}");
        screen.key(Key::Char('k'));
        assert!(shown(&mut screen, 5).contains("lines 2 to 3 of 4"));
        screen.key(Key::PageUp);
        assert!(shown(&mut screen, 5).contains("lines 1 to 2 of 4"));
        assert!(!shown(&mut screen, 24).contains("lines"), "everything fits");
    }

    #[test]
    fn selectors_choose_what_is_shown_and_counted() {
        let text = shown(&mut screen(&["web-1/app:a"]), 24);
        assert!(text.contains("1 node, 1 of 1 running"), "{text}");
        assert!(text.contains("app:a") && !text.contains("app:b") && !text.contains("web-2"), "{text}");
        assert!(shown(&mut screen(&["nothing"]), 24).contains("nothing matches"));
    }
}
