//! Which colour means what, once for tables, lines and the full screen. Pure.

/// What a piece of text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All well.
    Good,
    /// On its way.
    Busy,
    /// Wrong.
    Bad,
    /// Off on purpose, or old.
    Quiet,
}

impl Tone {
    /// The tone of a process's state.
    pub(crate) fn of_process(state: &str) -> Self {
        match state {
            "running" => Self::Good,
            "starting" | "stopping" => Self::Busy,
            "stopped" | "exited" => Self::Quiet,
            _ => Self::Bad,
        }
    }

    /// The tone of a node's state.
    pub(crate) fn of_node(state: &str) -> Self {
        match state {
            "live" | "live-poll" => Self::Good,
            "connecting" | "shutting-down" => Self::Busy,
            _ => Self::Bad,
        }
    }

    /// For lines: the text between the escape sequences of this tone.
    pub(crate) fn paint(self, text: &str, is_colored: bool) -> String {
        if !is_colored {
            return text.to_owned();
        }
        let code = match self {
            Self::Good => "32",
            Self::Busy => "33",
            Self::Bad => "1;31",
            Self::Quiet => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// For tables.
    pub(crate) fn cell(self, cell: comfy_table::Cell, is_colored: bool) -> comfy_table::Cell {
        use comfy_table::{Attribute, Color};
        if !is_colored {
            return cell;
        }
        match self {
            Self::Good => cell.fg(Color::DarkGreen),
            Self::Busy => cell.fg(Color::DarkYellow),
            Self::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            Self::Quiet => cell.add_attribute(Attribute::Dim),
        }
    }

    /// For the full screen.
    pub(crate) fn style(self, is_colored: bool) -> ratatui::style::Style {
        use ratatui::style::{Modifier, Style};
        let style = Style::new();
        match self {
            Self::Good if is_colored => style.green(),
            Self::Busy if is_colored => style.yellow(),
            Self::Bad if is_colored => style.red().add_modifier(Modifier::BOLD),
            Self::Bad => style.add_modifier(Modifier::BOLD),
            Self::Quiet => style.add_modifier(Modifier::DIM),
            Self::Good | Self::Busy => style,
        }
    }
}
