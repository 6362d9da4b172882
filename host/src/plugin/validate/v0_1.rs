//! Version 0.1.0: knows the operation's name, who asks by name alone, and the fields.

use super::{Description, Said};
use crate::model::{Field, OperationRequest, Violation};
use crate::plugin::bindings::validate_v0_1::InputValidatorPre;
use crate::plugin::bindings::validate_v0_1::exports::omnivisor::validate::validator as wit;
use crate::plugin::state::CallState;
use wasmtime::Store;

pub(super) type Linked = InputValidatorPre<CallState>;

/// Cannot fail in this version.
pub(super) async fn describe(linked: &Linked, store: &mut Store<CallState>) -> Said<Description> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let info = plugin.omnivisor_validate_validator().call_describe(store).await?;
    Ok(Ok(Description { patterns: info.operations, extra: info.extra }))
}

pub(super) async fn validate(
    linked: &Linked,
    store: &mut Store<CallState>,
    request: &OperationRequest,
) -> Said<Vec<Violation>> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_validate_validator().call_validate(store, &operation(request)).await?;
    Ok(said.map(|told| told.into_iter().map(violation).collect()))
}

fn operation(request: &OperationRequest) -> wit::Operation {
    let field = |field: &Field| wit::Field { pointer: field.pointer.clone(), value: field.value.clone() };
    wit::Operation {
        name: request.name.clone(),
        principal: request.requester.as_ref().map(|requester| requester.name.clone()),
        fields: request.fields.iter().map(field).collect(),
        extra: Vec::new(),
    }
}

fn violation(told: wit::Violation) -> Violation {
    Violation { pointer: told.pointer, code: told.code, message: told.message }
}
