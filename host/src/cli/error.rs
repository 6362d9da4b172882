use super::{escape, exit};
use crate::api::wire::Problem;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// Why a command of the client did not do what it was asked. Each variant has one exit code and one next step.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What would be right.
        hint: String,
    },
    /// What was typed in or read is not acceptable.
    #[error("{message}")]
    Data {
        /// What is wrong.
        message: String,
    },
    /// A selector without a match.
    #[error("`{selector}` matches nothing")]
    NoMatch {
        /// The selector.
        selector: String,
        /// What may be the reason.
        hint: String,
    },
    /// No connection came about.
    #[error("cannot reach {server}")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer came in time.
    #[error("{server} did not answer within {}", super::age::took(*limit))]
    TimedOut {
        /// Its address.
        server: String,
        /// The time it had.
        limit: Duration,
    },
    /// The connection broke in the middle of an exchange.
    #[error("the connection to {server} broke")]
    Broken {
        /// Its address.
        server: String,
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server said no, and why.
    #[error("{}", problem.detail)]
    Refused {
        /// Its own words.
        problem: Box<Problem>,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// Something answers there, and it is not ours.
    #[error("{server} does not answer as an Omnivisor server does: {what}")]
    NotOmnivisor {
        /// Its address.
        server: String,
        /// What was odd.
        what: String,
    },
    /// The feed was closed, and coming back would not help.
    #[error("{server} closed the feed: {reason}")]
    FeedClosed {
        /// Its address.
        server: String,
        /// The close code.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// A file of ours could not be used.
    #[error("cannot {action} {path}")]
    File {
        /// `read`, `write`, ...
        action: &'static str,
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of ours holds nonsense, or may be read by others.
    #[error("{path}: {message}")]
    State {
        /// Which.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The terminal or the standard streams failed.
    #[error("cannot use the terminal or the standard streams")]
    Terminal(#[source] io::Error),
    /// The reader of our output went away, as `head` does. Not worth a word.
    #[error("the output is closed")]
    ClosedPipe,
    /// The user answered no.
    #[error("nothing was sent")]
    Declined,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Some targets failed. Each has had its line already.
    #[error("{failed} of {total} failed")]
    SomeFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
    },
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// Sorts a failed write: a reader that went away is no fault.
    pub(crate) fn output(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::Terminal(source)
    }

    /// The exit code, from [`exit`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => exit::USAGE,
            Self::Data { .. } => exit::DATA,
            Self::NoMatch { .. } => exit::NO_INPUT,
            Self::Unreachable { .. } => exit::UNAVAILABLE,
            Self::TimedOut { .. } | Self::Broken { .. } => exit::TEMPORARY,
            Self::Refused { problem, .. } => match problem.status {
                401 | 403 => exit::NO_PERMISSION,
                404 => exit::NO_INPUT,
                408 | 409 | 429 | 502..=504 => exit::TEMPORARY,
                400..=499 => exit::DATA,
                _ => exit::SOFTWARE,
            },
            Self::NotOmnivisor { .. } => exit::PROTOCOL,
            Self::FeedClosed { code, .. } => match code {
                4500 | 4501 | 4503 => exit::NO_PERMISSION,
                _ => exit::PROTOCOL,
            },
            Self::File { action, source, .. } => match (source.kind(), *action) {
                (io::ErrorKind::NotFound, "read") => exit::NO_INPUT,
                (io::ErrorKind::PermissionDenied, "read") => exit::NO_PERMISSION,
                (_, "create") => exit::CANNOT_CREATE,
                (_, _) => exit::IO,
            },
            Self::State { .. } => exit::CONFIG,
            Self::Terminal(_) => exit::IO,
            Self::ClosedPipe => exit::OK,
            Self::Declined | Self::SomeFailed { .. } => exit::FAILED,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// What the server has against the request, in sentences.
    pub(crate) fn violations(&self) -> Vec<&str> {
        let Self::Refused { problem, .. } = self else { return Vec::new() };
        problem.errors.iter().map(|field| field.message.as_str()).collect()
    }

    /// What to do next, when that is not plain.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::NoMatch { hint, .. } => Some(hint.clone()),
            Self::Unreachable { .. } => {
                Some("is it running? omnivisor serve; another one is named with --server URL".to_owned())
            }
            Self::TimedOut { .. } => Some("try again; the server's log may say what it waits for".to_owned()),
            Self::Broken { .. } => Some("try again; an order may have reached the server: omnivisor status".to_owned()),
            Self::Refused { problem, retry_after } => refused_hint(problem, *retry_after),
            Self::NotOmnivisor { .. } => Some("check --server and OMNIVISOR_SERVER".to_owned()),
            Self::FeedClosed { code: 4500 | 4501, .. } => Some("log in: omnivisor login".to_owned()),
            Self::State { .. } => Some("put it right, or remove it and log in again".to_owned()),
            Self::Data { .. }
            | Self::FeedClosed { .. }
            | Self::File { .. }
            | Self::Terminal(_)
            | Self::ClosedPipe
            | Self::Declined
            | Self::Interrupted
            | Self::SomeFailed { .. } => None,
        }
    }

    /// True when everything there is to say was said before, or nobody is left to hear it.
    pub(crate) const fn is_told(&self) -> bool {
        matches!(self, Self::ClosedPipe | Self::SomeFailed { .. } | Self::Interrupted)
    }

    /// The message with its causes, one line, safe for a terminal.
    pub(crate) fn one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            // Writing to a `String` cannot fail.
            let _ = match error.downcast_ref::<io::Error>() {
                Some(error) if error.raw_os_error().is_some() => write!(text, ": {}", plain(error)),
                Some(_) | None => write!(text, ": {error}"),
            };
            cause = error.source();
        }
        if let Self::Refused { problem, .. } = self {
            let _ = write!(text, " ({}, request {})", problem.code, problem.request_id);
        }
        escape::line(&text).into_owned()
    }

    /// What standard error shows: `error: ...`, then bad fields and the next step, indented.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.one_line());
        if let Self::Refused { problem, .. } = self {
            for field in &problem.errors {
                let _ = writeln!(text, "  {}: {}", escape::line(&field.pointer), escape::line(&field.message));
            }
        }
        if let Some(hint) = self.hint() {
            let _ = writeln!(text, "  {}", escape::line(&hint));
        }
        text
    }

    /// The same for programs, one line of JSON.
    pub(crate) fn render_json(&self) -> String {
        let problem = if let Self::Refused { problem, .. } = self { serde_json::to_value(problem).ok() } else { None };
        let value = serde_json::json!({
            "error": self.one_line(), "hint": self.hint(), "exit_code": self.exit_code(), "problem": problem,
        });
        format!("{value}\n")
    }
}

/// The error's words without the number that the standard library appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

fn refused_hint(problem: &Problem, retry_after: Option<Duration>) -> Option<String> {
    if let Some(wait) = retry_after {
        return Some(format!("try again in {} s", wait.as_secs().max(1)));
    }
    match problem.code.as_str() {
        "auth.required" => Some("log in: omnivisor login".to_owned()),
        "auth.forbidden" => Some("your rights or your key do not allow it: omnivisor whoami".to_owned()),
        "auth.account_not_found" => Some("see which there are: omnivisor user list".to_owned()),
        "auth.role_not_found" => Some("see which there are: omnivisor role list".to_owned()),
        "auth.key_not_found" => Some("see which there are: omnivisor api-key list".to_owned()),
        "node.not_found" | "process.not_found" => Some("see what is there: omnivisor status".to_owned()),
        "setup.done" => Some("an account exists already: omnivisor login".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::FieldProblem;

    fn refused(status: u16, code: &str) -> CliError {
        let problem = Problem {
            r#type: String::new(),
            title: "t".into(),
            status,
            code: code.into(),
            detail: "the thing\x1b[2J is wrong".into(),
            request_id: "r-1".into(),
            errors: vec![FieldProblem { pointer: "/body/x".into(), code: "long".into(), message: "too long".into() }],
        };
        CliError::Refused { problem: Box::new(problem), retry_after: None }
    }

    #[test]
    fn a_problem_shows_detail_code_request_and_fields() {
        let text = refused(422, "request.invalid").render();
        assert_eq!(text, "error: the thing\\x1b[2J is wrong (request.invalid, request r-1)\n  /body/x: too long\n");
        let json: serde_json::Value = serde_json::from_str(&refused(401, "auth.required").render_json()).expect("JSON");
        assert_eq!((&json["exit_code"], &json["problem"]["status"]), (&77.into(), &401.into()));
        assert_eq!(json["hint"], "log in: omnivisor login");
    }

    #[test]
    fn statuses_become_exit_codes() {
        let code = |status| refused(status, "x").exit_code();
        assert_eq!([400, 401, 403, 404, 409, 413].map(code), [65, 77, 77, 66, 75, 65]);
        assert_eq!([422, 429, 500, 502, 503, 504].map(code), [65, 75, 70, 75, 75, 75]);
    }

    #[test]
    fn an_unreachable_server_is_named_with_the_next_step() {
        let source = io::Error::from_raw_os_error(111);
        let error = CliError::Unreachable { server: "http://127.0.0.1:1".into(), source };
        assert_eq!(error.exit_code(), 69);
        let text = error.render();
        assert!(text.starts_with("error: cannot reach http://127.0.0.1:1: Connection refused\n"), "{text}");
        assert!(text.contains("omnivisor serve"), "{text}");
    }
}
