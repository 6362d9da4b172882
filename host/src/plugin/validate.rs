use crate::model::{OperationRequest, Violation};
use crate::plugin::bindings::validate::InputValidatorPre;
use crate::plugin::bindings::validate::exports::omnivisor::validate::validator as wit;
use crate::plugin::call::{Callee, Given};
use crate::plugin::ending::Refused;
use crate::plugin::fault::{accepted, at_most};
use crate::plugin::state::CallState;
use crate::plugin::text::{MESSAGE_BYTES_MAX, clean, code, cut};
use crate::plugin::{BoxFuture, JudgeError, LoadError, Validator};
use std::sync::Arc;

type Linked = InputValidatorPre<CallState>;

const VIOLATIONS_MAX: usize = 1_000;
const PATTERNS_MAX: usize = 256;
const POINTER_BYTES_MAX: usize = 1_024;

/// An input validator that is a component.
pub(super) struct InputValidator {
    callee: Callee<Linked>,
    /// The operations it wants to see.
    patterns: Vec<String>,
}

impl InputValidator {
    /// Asks a linked component what it is.
    pub(super) async fn describe(callee: Callee<Linked>) -> Result<Self, LoadError> {
        let said = callee
            .call(
                Given::to_describe(),
                |linked, store| {
                    Box::pin(async move {
                        let plugin = linked.instantiate_async(&mut *store).await?;
                        plugin.omnivisor_validate_validator().call_describe(store).await
                    })
                },
                Ok,
            )
            .await;
        let plugin = || callee.name.to_string();
        let patterns = said.map_err(|ending| LoadError::describe(plugin(), ending))?.operations;
        if !(1..=PATTERNS_MAX).contains(&patterns.len()) {
            let reason =
                format!("it names {} operations, 1 to {PATTERNS_MAX} were expected; `*` is all", patterns.len());
            return Err(LoadError::Description { plugin: plugin(), reason });
        }
        Ok(Self { callee, patterns })
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
        let call = self.callee.call(
            Given::default(),
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    let operation = operation(&request);
                    plugin.omnivisor_validate_validator().call_validate(store, &operation).await
                })
            },
            |said| said.map_err(accepted).and_then(violations),
        );
        Box::pin(async move { Ok(call.await?) })
    }
}

/// A pattern is a name, or a prefix and a star.
fn is_match(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

fn operation(request: &OperationRequest) -> wit::Operation {
    let field = |field: &crate::model::Field| wit::Field { pointer: field.pointer.clone(), value: field.value.clone() };
    wit::Operation {
        name: request.name.clone(),
        principal: request.principal.clone(),
        fields: request.fields.iter().map(field).collect(),
        extra: Vec::new(),
    }
}

fn violations(violations: Vec<wit::Violation>) -> Result<Vec<Violation>, Refused> {
    at_most(violations.len(), VIOLATIONS_MAX, "violations")?;
    let violation = |violation: wit::Violation| Violation {
        pointer: cut(violation.pointer, POINTER_BYTES_MAX),
        code: code(&violation.code, "unnamed"),
        message: clean(&violation.message, MESSAGE_BYTES_MAX),
    };
    Ok(violations.into_iter().map(violation).collect())
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
        let told = wit::Violation { pointer: "/a".to_owned(), code: "TOO LONG".to_owned(), message: "no\n".to_owned() };
        let checked = violations(vec![told.clone()]).expect("one");
        let expected = Violation { pointer: "/a".to_owned(), code: "too_long".to_owned(), message: "no\\n".to_owned() };
        assert_eq!(checked, [expected]);
        assert!(matches!(violations(vec![told; VIOLATIONS_MAX + 1]), Err(Refused::TooMuch(_))));
    }
}
