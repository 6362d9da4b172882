//! One log line for each panic, with the task that it ended.

use crate::task::TaskKind;
use std::sync::Arc;

/// Characters of a panic's text that are logged.
const TEXT_CHARS_MAX: usize = 256;

tokio::task_local! {
    /// The task that runs on this thread at this moment.
    pub(super) static CURRENT: (TaskKind, Arc<str>);
}

/// Has panics told in the log instead of on standard error, which the log's readers would not understand. For the whole
/// process, once, when the log was started.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let (kind, name) = CURRENT
            .try_with(|(kind, name)| (kind.as_str(), Arc::clone(name)))
            .unwrap_or_else(|_| ("none", Arc::from(std::thread::current().name().unwrap_or_default())));
        let text: String = info.payload_as_str().unwrap_or("of another type").chars().take(TEXT_CHARS_MAX).collect();
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(kind, name = &*name, location, panic = ?text, "a panic, which is a bug");
    }));
}
