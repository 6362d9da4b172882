//! Input validators: may this request go on? The words are those of `wit/validate`.

use crate::Fault;
use crate::bindings::validate::exports::omnivisor::validate::validator as contract;
use std::marker::PhantomData;

pub use crate::bindings::common::omnivisor::types::types::ProcessId;
pub use contract::{Field, Operation, Principal, Target, ValidatorInfo, Violation};

/// Judges requests. Export it with [`export_input_validator!`](crate::export_input_validator).
///
/// Functions, not methods: every call has an instance of its own, so there is nothing to keep in a `self`.
pub trait InputValidator {
    /// What this validator is. Asked once after loading.
    ///
    /// # Errors
    /// A [`Fault`] when its settings make no sense; it is not taken into service then, and the operator is told why.
    fn describe() -> Result<ValidatorInfo, Fault>;

    /// Judges a request; an empty list lets it go on.
    ///
    /// # Errors
    /// A [`Fault`], which refuses the request unless the operator said otherwise.
    fn validate(operation: Operation) -> Result<Vec<Violation>, Fault>;
}

/// The component that a validator becomes.
#[doc(hidden)]
pub struct Component<T>(PhantomData<T>);

impl<T: InputValidator> contract::Guest for Component<T> {
    fn describe() -> Result<ValidatorInfo, Fault> {
        crate::panic::announce();
        T::describe()
    }

    fn validate(operation: Operation) -> Result<Vec<Violation>, Fault> {
        crate::panic::announce();
        T::validate(operation)
    }
}

/// Makes this crate an input validator: names the type that implements [`InputValidator`]. Once in a crate.
#[macro_export]
macro_rules! export_input_validator {
    ($validator:ty) => {
        const _: () = {
            type Component = $crate::__private::ValidatorComponent<$validator>;
            #[cfg(target_arch = "wasm32")]
    $crate::__private::validate::__export_input_validator!(Component with_types_in $crate::__private::validate);
            #[cfg(not(target_arch = "wasm32"))]
            const fn is_a_validator<T: $crate::__private::validate::exports::omnivisor::validate::validator::Guest>() {}
            #[cfg(not(target_arch = "wasm32"))]
            is_a_validator::<Component>();
        };
    };
}
