//! Input validators, of every version of their contract that is served.
//!
//! What all versions share stands here; how one of them puts it stands in a file of its own, which knows nothing of the
//! others. Which version a component is of is told by what it exports, never by a number in a manifest.

mod passed;
mod v0_1;
mod v0_2;

use crate::model::{OperationRequest, Violation};
use crate::plugin::bindings::types::Fault;
use crate::plugin::call::{Callee, Given};
use crate::plugin::class::VALIDATOR_V0_2;
use crate::plugin::ending::Refused;
use crate::plugin::fault::{accepted, at_most};
use crate::plugin::state::CallState;
use crate::plugin::text::{MESSAGE_BYTES_MAX, clean, code, cut};
use crate::plugin::{BoxFuture, JudgeError, LoadError, Validator};
use passed::{Passed, Words};
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::InstancePre;

/// What `describe` may say in `extra`: that its verdict follows from the operation's name and fields alone, so that words which
/// passed once need not be judged again.
const JUDGES_FIELDS_ALONE: &str = "judges-fields-alone";
const VIOLATIONS_MAX: usize = 1_000;
const PATTERNS_MAX: usize = 256;
const POINTER_BYTES_MAX: usize = 1_024;

/// A linked component, by the version of the contract that it was built for.
pub(super) enum Linked {
    /// 0.1.0
    V0_1(v0_1::Linked),
    /// 0.2.0
    V0_2(v0_2::Linked),
}

/// What a validator says: its result, or its fault.
type Said<T> = wasmtime::Result<Result<T, Fault>>;

/// What a validator says of itself.
struct Description {
    /// The patterns of the operations it wants to see.
    patterns: Vec<String>,
    extra: Vec<(String, String)>,
}

impl Linked {
    /// Checks the component's types against its version of the contract. One that exports several is taken by the newest.
    pub(super) fn new(linked: InstancePre<CallState>) -> wasmtime::Result<Self> {
        if linked.component().get_export_index(None, VALIDATOR_V0_2).is_some() {
            return Ok(Self::V0_2(v0_2::Linked::new(linked)?));
        }
        Ok(Self::V0_1(v0_1::Linked::new(linked)?))
    }

    async fn describe(&self, store: &mut Store<CallState>) -> Said<Description> {
        match self {
            Self::V0_1(linked) => v0_1::describe(linked, store).await,
            Self::V0_2(linked) => v0_2::describe(linked, store).await,
        }
    }

    async fn validate(&self, store: &mut Store<CallState>, request: &OperationRequest) -> Said<Vec<Violation>> {
        match self {
            Self::V0_1(linked) => v0_1::validate(linked, store, request).await,
            Self::V0_2(linked) => v0_2::validate(linked, store, request).await,
        }
    }
}

/// An input validator that is a component.
pub(super) struct InputValidator {
    callee: Callee<Linked>,
    /// The operations it wants to see.
    patterns: Vec<String>,
    /// Of one that judges words alone.
    passed: Option<Passed>,
}

impl InputValidator {
    /// Asks a linked component what it is.
    pub(super) async fn describe(callee: Callee<Linked>) -> Result<Self, LoadError> {
        let said = callee
            .call(
                Given::to_describe(),
                |linked, store| Box::pin(async move { linked.describe(store).await }),
                |said| said.map_err(accepted),
            )
            .await;
        let plugin = || callee.name.to_string();
        let Description { patterns, extra } = said.map_err(|ending| LoadError::describe(plugin(), ending))?;
        if !(1..=PATTERNS_MAX).contains(&patterns.len()) {
            let reason =
                format!("it names {} operations, 1 to {PATTERNS_MAX} were expected; `*` is all", patterns.len());
            return Err(LoadError::Description { plugin: plugin(), reason });
        }
        let judges_fields_alone = extra.iter().any(|(key, value)| key == JUDGES_FIELDS_ALONE && value == "true");
        Ok(Self { callee, patterns, passed: judges_fields_alone.then(Passed::default) })
    }
}

impl Validator for InputValidator {
    fn name(&self) -> &str {
        &self.callee.name
    }

    fn sees(&self, operation: &str) -> bool {
        self.patterns.iter().any(|pattern| is_match(pattern, operation))
    }

    fn validate(&self, request: Arc<OperationRequest>) -> BoxFuture<'_, Result<Vec<Violation>, JudgeError>> {
        if !self.sees(&request.name) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let words = self.passed.as_ref().and_then(|passed| Some((passed, Words::of(&request)?)));
        if words.as_ref().is_some_and(|(passed, words)| passed.has(words)) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let call = self.callee.call(
            Given::default(),
            move |linked, store| Box::pin(async move { linked.validate(store, &request).await }),
            |said| said.map_err(accepted).and_then(checked),
        );
        Box::pin(async move {
            let violations = call.await?;
            if let Some((passed, words)) = words.filter(|_| violations.is_empty()) {
                passed.note(words);
            }
            Ok(violations)
        })
    }
}

/// A pattern is a name, or a prefix and a star.
fn is_match(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// Violations as a plugin told them, made few, short and plain.
fn checked(told: Vec<Violation>) -> Result<Vec<Violation>, Refused> {
    at_most(told.len(), VIOLATIONS_MAX, "violations")?;
    let violation = |violation: Violation| Violation {
        pointer: cut(violation.pointer, POINTER_BYTES_MAX),
        code: code(&violation.code, "unnamed"),
        message: clean(&violation.message, MESSAGE_BYTES_MAX),
    };
    Ok(told.into_iter().map(violation).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validator_sees_what_it_named() {
        assert!(is_match("*", "process.start"));
        assert!(is_match("process.*", "process.start"));
        assert!(is_match("process.start", "process.start"));
        assert!(!is_match("process.start", "process.startle"));
        assert!(!is_match("node.*", "process.start"));
        assert!(!is_match("", "process.start"));
    }

    #[test]
    fn violations_are_bounded_and_plain() {
        let told = Violation { pointer: "/a".to_owned(), code: "TOO LONG".to_owned(), message: "no\n".to_owned() };
        let expected = Violation { pointer: "/a".to_owned(), code: "too_long".to_owned(), message: "no\\n".to_owned() };
        assert_eq!(checked(vec![told.clone()]).expect("one"), [expected]);
        assert!(matches!(checked(vec![told; VIOLATIONS_MAX + 1]), Err(Refused::TooMuch(_))));
    }
}
