use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How soon the keyboard thread notices that it is to end.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// The terminal as a full screen, given back as it was however this ends: when it is dropped, and by the panic hook
/// that entering installs.
pub(crate) struct FullScreen {
    terminal: DefaultTerminal,
}

impl FullScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// What the terminal said; it is as before then.
    pub(crate) fn enter() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                // It may have been taken half-way. The first error says more than this one.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    /// Draws one picture.
    ///
    /// # Errors
    /// What the terminal said.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // The hook has given it back already; doing it again would write over the panic's message.
        if std::thread::panicking() {
            return;
        }
        // A terminal that is gone cannot be given back.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// A key as far as the screen cares.
#[derive(Debug)]
pub(crate) enum Key {
    /// A character.
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Backspace,
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// The window has another size.
    Resize,
    /// The keyboard is gone.
    Broken(io::Error),
}

/// Reads keys until `stop` or until nobody wants them. Blocks its thread.
pub(crate) fn read_keys(keys: &mpsc::Sender<Key>, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let key = match event::poll(KEY_WAIT) {
            Ok(false) => continue,
            Ok(true) => match event::read() {
                Ok(event) => key(&event),
                Err(error) => Some(Key::Broken(error)),
            },
            Err(error) => Some(Key::Broken(error)),
        };
        let Some(key) = key else { continue };
        let is_broken = matches!(key, Key::Broken(_));
        if keys.blocking_send(key).is_err() || is_broken {
            return;
        }
    }
}

fn key(event: &Event) -> Option<Key> {
    if matches!(event, Event::Resize(..)) {
        return Some(Key::Resize);
    }
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    if *kind == KeyEventKind::Release {
        return None;
    }
    if let KeyCode::Char(character) = code {
        if modifiers.contains(KeyModifiers::CONTROL) {
            return (*character == 'c').then_some(Key::Interrupt);
        }
        return Some(Key::Char(*character));
    }
    let known = [
        (KeyCode::Up, Key::Up),
        (KeyCode::Down, Key::Down),
        (KeyCode::PageUp, Key::PageUp),
        (KeyCode::PageDown, Key::PageDown),
        (KeyCode::Home, Key::Home),
        (KeyCode::End, Key::End),
        (KeyCode::Enter, Key::Enter),
        (KeyCode::Backspace, Key::Backspace),
        (KeyCode::Esc, Key::Escape),
    ];
    known.into_iter().find(|(known, _)| known == code).map(|(_, key)| key)
}
