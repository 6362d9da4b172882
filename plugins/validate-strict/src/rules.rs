use crate::character;
use plugin_sdk::validator::{Field, Violation};

/// What a field holds, which decides its rules.
enum Kind {
    /// A node's name, as the configuration spells it.
    Node,
    /// `group:name`, as the supervisor spells it.
    Process,
    /// `stdout` or `stderr`.
    Channel,
    /// A user's name.
    Username,
    /// How many bytes a secret has.
    SecretLength {
        /// Bytes allowed.
        max: u64,
    },
    /// A whole number within bounds.
    Number {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The word `processes`.
    Include,
    /// Text of a place that this validator has no rule for.
    Text {
        /// Bytes allowed.
        bytes_max: usize,
        /// Whether nothing at all is an answer.
        may_be_empty: bool,
    },
}

const NODE_BYTES_MAX: usize = 64;
const PROCESS_PART_BYTES_MAX: usize = 255;
const USERNAME_BYTES_MAX: usize = 255;
const LOG_BYTES_MAX: u64 = 1_048_576;
const WAIT_MS_MAX: u64 = 60_000;
const OVERRIDE_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4096;

/// Everything that is wrong with one field.
pub(crate) fn violations(field: &Field) -> Vec<Violation> {
    let mut found = Found { pointer: &field.pointer, violations: Vec::new() };
    found.judge(&kind(&field.pointer), &field.value);
    found.violations
}

fn kind(pointer: &str) -> Kind {
    match pointer {
        "/path/node" => Kind::Node,
        "/path/process" => Kind::Process,
        "/path/channel" => Kind::Channel,
        "/body/username" => Kind::Username,
        "/body/password/length" => Kind::SecretLength { max: 1024 },
        "/body/token/length" => Kind::SecretLength { max: 512 },
        // Goes into the audit as it is: a reason that is not there would be no reason.
        "/body/override" => Kind::Text { bytes_max: OVERRIDE_BYTES_MAX, may_be_empty: false },
        "/body/wait_ms" => Kind::Number { min: 0, max: WAIT_MS_MAX },
        "/query/tail" | "/query/bytes" => Kind::Number { min: 1, max: LOG_BYTES_MAX },
        "/query/offset" => Kind::Number { min: 0, max: i64::MAX.unsigned_abs() },
        "/query/include" => Kind::Include,
        other => Kind::Text { bytes_max: TEXT_BYTES_MAX, may_be_empty: !other.starts_with("/path/") },
    }
}

struct Found<'a> {
    pointer: &'a str,
    violations: Vec<Violation>,
}

impl Found<'_> {
    fn add(&mut self, code: &str, message: String) {
        self.violations.push(Violation { pointer: self.pointer.to_owned(), code: code.to_owned(), message });
    }

    fn judge(&mut self, kind: &Kind, value: &str) {
        match *kind {
            Kind::Node => self.judge_node(value),
            Kind::Process => self.judge_process(value),
            Kind::Channel => self.judge_word(value, &["stdout", "stderr"]),
            Kind::Include => self.judge_word(value, &["processes"]),
            Kind::Username => {
                self.judge_length("the user name", value, USERNAME_BYTES_MAX);
                self.judge_characters(value);
            }
            Kind::SecretLength { max } => self.judge_secret(value, max),
            Kind::Number { min, max } => self.judge_number(value, min, max),
            Kind::Text { bytes_max, may_be_empty } => {
                if !(may_be_empty && value.is_empty()) {
                    self.judge_length("the value", value, bytes_max);
                }
                self.judge_characters(value);
            }
        }
    }

    /// A node's name becomes a path part, a metric's label and a file's name: nothing that walks through folders.
    fn judge_node(&mut self, value: &str) {
        self.judge_length("the node's name", value, NODE_BYTES_MAX);
        self.judge_characters(value);
        if value.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            self.add(
                "path_segment",
                "the node's name walks through folders; give the name alone, without `.` or `..`".to_owned(),
            );
        }
        if value.contains(['/', '\\']) {
            self.add("path_separator", "the node's name holds a slash or backslash; give the name alone".to_owned());
        }
    }

    fn judge_process(&mut self, value: &str) {
        self.judge_characters(value);
        let Some((group, name)) = value.split_once(':') else {
            let message = "a process is addressed as `group:name`; a program without a group is `name:name`";
            return self.add("no_group", message.to_owned());
        };
        self.judge_length("the group", group, PROCESS_PART_BYTES_MAX);
        self.judge_length("the process's name", name, PROCESS_PART_BYTES_MAX);
        if name == "*" {
            self.add("wildcard", "`*` names a whole group; name one process, as `group:name`".to_owned());
        }
    }

    fn judge_length(&mut self, what: &str, value: &str, bytes_max: usize) {
        if value.is_empty() {
            self.add("empty", format!("{what} is empty; 1 to {bytes_max} bytes are allowed"));
        } else if value.len() > bytes_max {
            self.add("too_long", format!("{what} has {} bytes; 1 to {bytes_max} are allowed", value.len()));
        }
    }

    fn judge_characters(&mut self, value: &str) {
        if let Some(c) = value.chars().find(|&c| character::is_control(c)) {
            self.add("control_character", format!("it holds the control character {}; leave it out", code_point(c)));
        }
        if let Some(c) = invisible(value) {
            self.add(
                "invisible_character",
                format!("it holds the invisible character {}; leave it out", code_point(c)),
            );
        }
        if !character::is_bidi_closed(value) {
            let message =
                "it turns the direction of text without turning it back; close every direction mark, or leave it out";
            self.add("bidi_override", message.to_owned());
        }
    }

    fn judge_word(&mut self, value: &str, words: &[&str]) {
        if !words.contains(&value) {
            self.add("unknown_word", format!("it must be `{}`", words.join("` or `")));
        }
    }

    fn judge_secret(&mut self, value: &str, max: u64) {
        match value.parse::<u64>() {
            Ok(0) => self.add("empty", format!("it is empty; 1 to {max} bytes are allowed")),
            Ok(length) if length > max => {
                self.add("too_long", format!("it has {length} bytes; 1 to {max} are allowed"));
            }
            Ok(_) => {}
            Err(_) => self.add("not_a_number", "its length must be a whole number".to_owned()),
        }
    }

    /// Digits alone, as `u64` prints them: a sign, a space or a leading zero means that somebody guessed.
    fn judge_number(&mut self, value: &str, min: u64, max: u64) {
        match value.parse::<u64>() {
            Ok(number) if number.to_string() != value => {
                self.add("not_a_number", format!("it must be written with digits alone, as `{number}`"));
            }
            Ok(number) if number < min || number > max => {
                self.add("out_of_range", format!("it is {number}; {min} to {max} are allowed"));
            }
            Ok(_) => {}
            Err(_) => self.add("not_a_number", format!("it must be a whole number from {min} to {max}")),
        }
    }
}

/// The first character that hides: an invisible one, or a joiner without a visible neighbour on both sides.
fn invisible(value: &str) -> Option<char> {
    let is_hidden = |c: char| character::is_invisible(c) || character::is_joiner(c);
    let shows = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace() && !c.is_ascii() && !is_hidden(c));
    let mut before = None;
    let mut characters = value.chars().peekable();
    while let Some(c) = characters.next() {
        let joins = character::is_joiner(c) && shows(before) && shows(characters.peek().copied());
        if is_hidden(c) && !joins {
            return Some(c);
        }
        before = Some(c);
    }
    None
}

fn code_point(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

#[cfg(test)]
mod tests;
