//! Which of the host's own log lines are written, in words.

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// What a level that names no part of the program means for the libraries that it is made of.
const LIBRARIES_AT_MOST: &str = "info";
const PROGRAM: &str = "omnivisor";

/// A level, or levels of parts of the program as `TARGET=LEVEL`, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// A part of a filter that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a level")]
pub struct NotALevel(pub String);

impl LogFilter {
    /// Characters of a filter.
    pub const CHARS_MAX: usize = 512;
    /// What may be written instead of something that is no filter.
    pub const EXPECTED: &str = "error, warn, info, debug, trace or off, or TARGET=LEVEL, separated by commas";

    /// Reads one of at most [`Self::CHARS_MAX`] characters.
    ///
    /// # Errors
    /// The first part that is no level.
    pub fn parse(text: &str) -> Result<Self, NotALevel> {
        let shown = || text.chars().take(64).collect();
        if text.chars().count() > Self::CHARS_MAX {
            return Err(NotALevel(shown()));
        }
        match text.split(',').find(|directive| !is_directive(directive)) {
            Some(bad) => Err(NotALevel(bad.to_owned())),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for the log. A level alone is that of this program; libraries tell at most what `info` does, for theirs is a
    /// flood, and not ours to keep secrets out of. Who wants one of them names it.
    #[must_use]
    pub fn directives(&self) -> String {
        let parts = || self.0.split(',').map(|part| part.trim().to_ascii_lowercase());
        let mut directives = Vec::new();
        // The last of several counts, and what names a target counts for more.
        for level in parts().filter(|part| !part.contains('=')) {
            let is_talkative = matches!(level.as_str(), "debug" | "trace");
            directives.push(if is_talkative { LIBRARIES_AT_MOST.to_owned() } else { level.clone() });
            directives.push(format!("{PROGRAM}={level}"));
        }
        directives.extend(self.0.split(',').map(str::trim).filter(|part| part.contains('=')).map(str::to_owned));
        directives.join(",")
    }
}

/// `LEVEL` or `TARGET=LEVEL`. A bare target is refused, although log filters know it: it is a mistyped level.
fn is_directive(directive: &str) -> bool {
    let directive = directive.trim();
    let (target, level) = directive.split_once('=').unwrap_or((PROGRAM, directive));
    let is_target = !target.is_empty() && target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
    is_target && LEVELS.iter().any(|word| level.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_this_programs_and_a_library_is_talkative_only_when_it_is_named() {
        let directives = |text: &str| LogFilter::parse(text).unwrap().directives();
        assert_eq!(directives("trace"), "info,omnivisor=trace");
        assert_eq!(directives("warn"), "warn,omnivisor=warn");
        assert_eq!(directives("off"), "off,omnivisor=off");
        assert_eq!(directives("h2=trace, DEBUG"), "info,omnivisor=debug,h2=trace");
        assert_eq!(directives("debug,omnivisor::node=warn"), "info,omnivisor=debug,omnivisor::node=warn");
        assert_eq!(directives("omnivisor=warn,debug"), "info,omnivisor=debug,omnivisor=warn", "the last one counts");
        assert_eq!(directives("omnivisor::node=trace"), "omnivisor::node=trace");
    }

    #[test]
    fn what_is_no_level_is_named() {
        for (text, bad) in [("", ""), ("loud", "loud"), ("info,hyper", "hyper"), ("x y=info", "x y=info")] {
            assert_eq!(LogFilter::parse(text), Err(NotALevel(bad.to_owned())));
        }
        assert!(LogFilter::parse(&"info,".repeat(200)).is_err());
    }
}
