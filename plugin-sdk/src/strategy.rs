//! Auth strategies: who is it that asks? The words are those of `wit/auth`.

use crate::accounts::HostAccounts;
use crate::bindings::auth::exports::omnivisor::auth::strategy as contract;
use crate::{Accounts, Fault};
use std::marker::PhantomData;

pub use contract::{Credential, Identity, RequestFacts, StrategyInfo, Verdict};

/// Decides logins. Export it with [`export_auth_strategy!`](crate::export_auth_strategy).
///
/// Functions, not methods: every call has an instance of its own, so there is nothing to keep in a `self`.
pub trait AuthStrategy {
    /// What this strategy is. Asked once after loading.
    fn describe() -> StrategyInfo;

    /// Judges a credential.
    ///
    /// # Errors
    /// A [`Fault`], which counts as a refusal: login fails closed.
    fn authenticate(accounts: &mut dyn Accounts, credential: Credential, facts: RequestFacts)
    -> Result<Verdict, Fault>;
}

/// The component that a strategy becomes.
#[doc(hidden)]
pub struct Component<T>(PhantomData<T>);

impl<T: AuthStrategy> contract::Guest for Component<T> {
    fn describe() -> StrategyInfo {
        crate::panic::announce();
        T::describe()
    }

    fn authenticate(credential: Credential, facts: RequestFacts) -> Result<Verdict, Fault> {
        crate::panic::announce();
        T::authenticate(&mut HostAccounts, credential, facts)
    }
}

/// Makes this crate an auth strategy: names the type that implements [`AuthStrategy`]. Once in a crate.
#[macro_export]
macro_rules! export_auth_strategy {
    ($strategy:ty) => {
        const _: () = {
            type Component = $crate::__private::StrategyComponent<$strategy>;
            #[cfg(target_arch = "wasm32")]
    $crate::__private::auth::__export_auth_strategy!(Component with_types_in $crate::__private::auth);
            #[cfg(not(target_arch = "wasm32"))]
            const fn is_a_strategy<T: $crate::__private::auth::exports::omnivisor::auth::strategy::Guest>() {}
            #[cfg(not(target_arch = "wasm32"))]
            is_a_strategy::<Component>();
        };
    };
}
