//! Auth strategies: who is it that asks? The words are those of `wit/auth`.

use crate::Fault;
use crate::bindings::auth::exports::omnivisor::auth::strategy as contract;
use crate::bindings::common::omnivisor::auth::types;
use crate::bindings::redirect::exports::omnivisor::auth::redirect;
use std::marker::PhantomData;

pub use redirect::{BeginRequest, Redirection, ReturnRequest};
pub use types::{Credential, Identity, IdentitySource, RequestFacts, StrategyInfo, Verdict};

/// Decides logins. Export it with [`export_auth_strategy!`](crate::export_auth_strategy).
///
/// Functions, not methods: every call has an instance of its own, so there is nothing to keep in a `self`.
pub trait AuthStrategy {
    /// What this strategy is. Asked once after loading.
    ///
    /// # Errors
    /// A [`Fault`] when its settings make no sense; it is not taken into service then.
    fn describe() -> Result<StrategyInfo, Fault>;

    /// Judges a credential.
    ///
    /// # Errors
    /// A [`Fault`], which counts as a refusal: login fails closed.
    fn authenticate(credential: Credential, facts: RequestFacts) -> Result<Verdict, Fault>;
}

/// A strategy that sends the browser elsewhere and gets it back. Export it with
/// [`export_redirect_strategy!`](crate::export_redirect_strategy) instead.
pub trait RedirectStrategy: AuthStrategy {
    /// Where to send the browser, and what the host is to keep until it is back.
    ///
    /// # Errors
    /// A [`Fault`]; nobody is sent anywhere then.
    fn begin(request: BeginRequest) -> Result<Redirection, Fault>;

    /// Judges what the browser came back with. The host has checked `state`.
    ///
    /// # Errors
    /// A [`Fault`], which counts as a refusal.
    fn complete(request: ReturnRequest) -> Result<Verdict, Fault>;
}

/// The component that a strategy becomes.
#[doc(hidden)]
pub struct Component<T>(PhantomData<T>);

impl<T: AuthStrategy> contract::Guest for Component<T> {
    fn describe() -> Result<StrategyInfo, Fault> {
        crate::panic::announce();
        T::describe()
    }

    fn authenticate(credential: Credential, facts: RequestFacts) -> Result<Verdict, Fault> {
        crate::panic::announce();
        T::authenticate(credential, facts)
    }
}

impl<T: RedirectStrategy> redirect::Guest for Component<T> {
    fn begin(request: BeginRequest) -> Result<Redirection, Fault> {
        crate::panic::announce();
        T::begin(request)
    }

    fn complete(request: ReturnRequest) -> Result<Verdict, Fault> {
        crate::panic::announce();
        T::complete(request)
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

/// Makes this crate an auth strategy that redirects: names the type that implements [`RedirectStrategy`]. Once in a
/// crate, and instead of [`export_auth_strategy!`].
#[macro_export]
macro_rules! export_redirect_strategy {
    ($strategy:ty) => {
        $crate::export_auth_strategy!($strategy);
        const _: () = {
            type Component = $crate::__private::StrategyComponent<$strategy>;
            #[cfg(target_arch = "wasm32")]
    $crate::__private::redirect::__export_redirect_login!(Component with_types_in $crate::__private::redirect);
            #[cfg(not(target_arch = "wasm32"))]
            const fn redirects<T: $crate::__private::redirect::exports::omnivisor::auth::redirect::Guest>() {}
            #[cfg(not(target_arch = "wasm32"))]
            redirects::<Component>();
        };
    };
}
