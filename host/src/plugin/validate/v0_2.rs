//! Version 0.2.0: also knows whether anything would change, role and permissions of who asks, the targets, and the time;
//! and `describe` may fail.

use super::{Description, Said};
use crate::model::{Field, OperationRequest, ProcessId, Requester, Target, Violation};
use crate::plugin::bindings::types;
use crate::plugin::bindings::validate_v0_2::InputValidatorPre;
use crate::plugin::bindings::validate_v0_2::exports::omnivisor::validate::validator as wit;
use crate::plugin::state::CallState;
use std::time::UNIX_EPOCH;
use wasmtime::Store;

pub(super) type Linked = InputValidatorPre<CallState>;

pub(super) async fn describe(linked: &Linked, store: &mut Store<CallState>) -> Said<Description> {
    let plugin = linked.instantiate_async(&mut *store).await?;
    let said = plugin.omnivisor_validate_validator().call_describe(store).await?;
    Ok(said.map(|info| Description { patterns: info.operations, extra: info.extra }))
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
    let at = request.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    wit::Operation {
        name: request.name.clone(),
        is_mutating: request.is_mutating,
        principal: request.requester.as_ref().map(principal),
        targets: request.targets.iter().map(target).collect(),
        fields: request.fields.iter().map(field).collect(),
        at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        extra: Vec::new(),
    }
}

fn principal(requester: &Requester) -> wit::Principal {
    wit::Principal {
        name: requester.name.clone(),
        role: requester.role.as_str().to_owned(),
        strategy: requester.strategy.clone(),
        permissions: requester.permissions.clone(),
        extra: Vec::new(),
    }
}

fn target(target: &Target) -> wit::Target {
    let process = |id: &ProcessId| types::ProcessId { group: id.group().to_owned(), name: id.name().to_owned() };
    wit::Target {
        node: target.node.to_string(),
        environment: target.environment.clone(),
        process: target.process.as_ref().map(process),
        extra: Vec::new(),
    }
}

fn field(field: &Field) -> wit::Field {
    wit::Field { pointer: field.pointer.clone(), value: field.value.clone() }
}

fn violation(told: wit::Violation) -> Violation {
    Violation { pointer: told.pointer, code: told.code, message: told.message }
}
